"""The demonstration's classes: every class is a ground, perhaps a second ground, and objects with strengths.

A strength in (0, 1] says how much of a thing a scene of the class shows. It sets how many are drawn and it is the
class's entry in the attribute table, so that pictures and table cannot disagree. The unseen classes are new
combinations of things that the seen classes show in other company.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Shape = Literal["coast", "lake", "river", "patches"]


@dataclass(frozen=True)
class Second:
    """A second ground that shares the scene: its material, its outline, and its share of the area (0..1)."""

    material: str
    shape: Shape
    share: float


@dataclass(frozen=True)
class SceneClass:
    """One class of scenes: the main ground, the second one, and strengths (0..1) of objects."""

    name: str
    ground: str
    second: Second | None = None
    objects: Mapping[str, float] = field(default_factory=dict)

    def strengths(self) -> dict[str, float]:
        """Return the strength of every material and object that the class shows."""
        share = self.second.share if self.second else 0.0
        grounds = {self.ground: 1 - share}
        if self.second:
            grounds[self.second.material] = share
        return grounds | dict(self.objects)


# What follows from showing a thing: the surface properties are the strongest that any of a scene's things brings along.
PROPERTIES: dict[str, dict[str, float]] = {
    "green": {"grass": 1, "tree": 0.8, "crops in rows": 0.6, "sports field": 0.5},
    "blue": {"water": 1, "swimming pool": 0.5, "solar panels": 0.5},
    "white": {"snow": 1, "aircraft": 0.3, "round tank": 0.4},
    "gray": {"paving": 1, "rock": 0.8, "runway": 0.6, "road": 0.3},
    "brown": {"soil": 1, "railway": 0.4},
    "khaki": {"sand": 1},
    "red": {"house": 0.8, "containers": 0.3},
    "colourful": {"containers": 0.9, "parked cars": 0.7},
    "circular": {"round tank": 1, "tree": 0.3},
    "rectangular": {"large building": 0.9, "house": 0.6, "sports field": 0.8, "containers": 0.7, "solar panels": 0.7},
    "straight": {"runway": 1, "railway": 0.8, "road": 0.5},
    "parallel": {"crops in rows": 1, "solar panels": 0.9, "railway": 0.8, "parked cars": 0.4},
}
MATERIALS = ("grass", "sand", "water", "soil", "rock", "snow", "paving")
OBJECTS = (
    "tree",
    "crops in rows",
    "house",
    "large building",
    "round tank",
    "containers",
    "solar panels",
    "sports field",
    "swimming pool",
    "road",
    "railway",
    "runway",
    "aircraft",
    "parked cars",
    "boat",
)

# Several seen classes share each ground, so that the ground alone does not give the class away and things must be seen.
SEEN = (
    SceneClass("Airport", "grass", None, {"runway": 1, "aircraft": 1, "large building": 0.4}),
    SceneClass("Forest", "grass", None, {"tree": 1}),
    SceneClass("HotelGarden", "grass", None, {"swimming pool": 1, "large building": 0.5, "tree": 0.5}),
    SceneClass("SolarFarm", "grass", None, {"solar panels": 1, "road": 0.5}),
    SceneClass("SportsCentre", "grass", None, {"sports field": 1, "parked cars": 0.6, "tree": 0.2}),
    SceneClass("Village", "grass", None, {"house": 1, "road": 0.7, "tree": 0.4}),
    SceneClass("Marina", "grass", Second("water", "coast", 0.5), {"boat": 1, "house": 0.4, "swimming pool": 0.4}),
    SceneClass("Waterworks", "grass", Second("water", "lake", 0.3), {"round tank": 0.7, "large building": 0.4}),
    SceneClass("RiverValley", "grass", Second("water", "river", 0.3), {"crops in rows": 0.6, "tree": 0.3}),
    SceneClass("Farmland", "soil", None, {"crops in rows": 1, "road": 0.5, "tree": 0.2}),
    SceneClass("RailYard", "soil", None, {"railway": 1, "containers": 0.6}),
    SceneClass("Suburb", "soil", None, {"house": 0.7, "swimming pool": 0.6, "road": 0.7}),
    SceneClass("TankFarm", "soil", None, {"round tank": 1, "road": 0.5}),
    SceneClass("Desert", "sand", Second("rock", "patches", 0.3), {}),
    SceneClass("DesertAirstrip", "sand", None, {"runway": 0.9, "aircraft": 0.5}),
    SceneClass("DesertDepot", "sand", None, {"round tank": 0.5, "containers": 0.6, "road": 0.6}),
    SceneClass("DesertFarm", "sand", None, {"crops in rows": 0.8, "solar panels": 0.4}),
    SceneClass("Beach", "sand", Second("water", "coast", 0.5), {"boat": 0.2, "tree": 0.3}),
    SceneClass("FishingVillage", "sand", Second("water", "coast", 0.4), {"house": 0.8, "boat": 0.6}),
    SceneClass("ParkingLot", "paving", None, {"parked cars": 1, "tree": 0.3}),
    SceneClass("Refinery", "paving", None, {"round tank": 0.7, "large building": 0.6, "railway": 0.5}),
    SceneClass("School", "paving", None, {"sports field": 0.7, "large building": 0.5, "tree": 0.3, "solar panels": 0.3}),
    SceneClass("FerryPort", "paving", Second("water", "coast", 0.4), {"boat": 0.3, "parked cars": 0.7}),
    SceneClass("Harbour", "paving", Second("water", "coast", 0.5), {"boat": 0.6, "containers": 0.9}),
    SceneClass("MountainLake", "rock", Second("water", "lake", 0.4), {"tree": 0.5}),
    SceneClass("MountainRailway", "rock", None, {"railway": 0.6, "tree": 0.6}),
    SceneClass("Vineyard", "rock", Second("soil", "patches", 0.3), {"crops in rows": 0.7, "house": 0.3}),
    SceneClass("SkiResort", "snow", None, {"house": 0.6, "tree": 0.5, "road": 0.5}),
    SceneClass("SnowyMine", "snow", Second("soil", "patches", 0.3), {"railway": 0.7, "round tank": 0.3, "containers": 0.3}),
    SceneClass("SnowyRidge", "snow", Second("rock", "patches", 0.35), {}),
)
UNSEEN = (
    SceneClass("BeachResort", "sand", Second("water", "coast", 0.4), {"swimming pool": 0.8, "house": 0.4, "tree": 0.3}),
    SceneClass("Oasis", "sand", Second("water", "lake", 0.25), {"tree": 0.7, "crops in rows": 0.5}),
    SceneClass("OilTerminal", "paving", Second("water", "coast", 0.4), {"round tank": 0.9, "boat": 0.3}),
    SceneClass("PolarAirfield", "snow", None, {"runway": 1, "aircraft": 0.7, "containers": 0.3}),
    SceneClass("RailwayTown", "grass", None, {"railway": 0.8, "house": 0.8, "parked cars": 0.3}),
)
CLASSES = tuple(sorted(SEEN + UNSEEN, key=lambda scene: scene.name))


MEANING = "the definitions that the scenes are drawn from"


def attribute_table() -> dict[str, Any]:
    """Return the table of all classes: `classes`, `groups` (name -> attributes), `matrix` [classes, attributes], `meaning`."""
    groups = {"objects": list(OBJECTS), "materials": list(MATERIALS), "surface_properties": list(PROPERTIES)}
    return {
        "classes": [scene.name for scene in CLASSES],
        "groups": groups,
        "matrix": [_row(scene) for scene in CLASSES],
        "meaning": MEANING,
    }


def class_splits() -> dict[str, dict[str, list[str]]]:
    """Return the one class split, named `demo`: lists `seen` and `unseen`."""
    return {"demo": {"seen": sorted(scene.name for scene in SEEN), "unseen": sorted(scene.name for scene in UNSEEN)}}


def _row(scene: SceneClass) -> list[float]:
    shown = scene.strengths()
    derived = [max(shown.get(thing, 0.0) * weight for thing, weight in things.items()) for things in PROPERTIES.values()]
    return [round(value, 4) for value in [shown.get(name, 0.0) for name in OBJECTS + MATERIALS] + derived]
