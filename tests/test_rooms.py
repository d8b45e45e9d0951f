import ast

from components.shared.stage.fingerprint import ROOT

SHARED = ("stage", "storage", "data", "reports", "training")
STAGES = [f"components.{path.parent.name}" for path in ROOT.glob("components/*/component.py")]
PIPELINES = ("demo", "backbones", "kubernetes_values", "steps", "images", "values", "tasks")
PIPELINES += ("display_names", "task_checks", "pretraining", "plain_yaml", "recipe_files", "recipe")
PIPELINES += ("recipe_arguments", "form")
PIPELINES += ("run", "trial", "engine", "cluster", "argo", "compile")
PIPELINES += ("report", "local", "clean", "submit", "prediction", "predict", "export")
# Each imports from itself and those before it; stages do not know of each other.
ROOMS = [[f"components.shared.{name}"] for name in SHARED] + [["components.trainjob"], STAGES]
ROOMS += [[f"pipelines.{name}"] for name in PIPELINES]
FLOORS = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


def room(module: str) -> str | None:
    return next((room for room in FLOORS if f"{module}.".startswith(f"{room}.")), None)


def test_packages_import_one_way() -> None:
    for path in [*ROOT.glob("components/**/*.py"), *ROOT.glob("pipelines/**/*.py")]:
        here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text())):
            names = node.names if isinstance(node, ast.ImportFrom) else []
            for there in filter(None, (room(f"{node.module}.{alias.name}") for alias in names)):
                assert there == here or FLOORS[there] < FLOORS[here], f"{path}: {there}"
