"""k-diffusion's files for sampling, without the packages that only its training needs."""

import importlib
import importlib.util
import sys
import types
from pathlib import Path


def module(name, **members):
    made = types.ModuleType(name)
    made.__dict__.update(members)
    sys.modules[name] = made
    return made


if importlib.util.find_spec("torchvision") is None:
    functional = module("torchvision.transforms.functional")
    module("torchvision", transforms=module("torchvision.transforms", functional=functional))
PLACE = Path(importlib.util.find_spec("k_diffusion").origin).parent
module("k_diffusion", __path__=[str(PLACE)])
sampling = importlib.import_module("k_diffusion.sampling")
external = importlib.import_module("k_diffusion.external")
