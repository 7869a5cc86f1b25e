"""A host for ALEX OS modules in Python: load one, run it, call it. Python 3.9 or later, nothing beside it.

| file | holds |
|---|---|
| `module` | `Module`, `Instance`, `Reply`, `AlexError`: what a program uses |
| `host` | `Host`: what the module may ask; subclass it |
| `abi` | the structures of the C header |
| `transcript` | plays a script of calls, as all of ChainBot's example hosts do |
"""

from . import abi
from .abi import State, Status
from .host import Host
from .module import AlexError, Instance, Module, NotAModule, Reply

__all__ = ["AlexError", "Host", "Instance", "Module", "NotAModule", "Reply", "State", "Status"]
