"""python -m alex_host MODULE.so            print the manifest
python -m alex_host MODULE.so SCRIPT     play a script of calls, print the transcript (docs/abi/transcript.md)"""

import json
import sys

from . import Module, NotAModule
from .transcript import BrokenContract, ScriptError, Session


def main() -> int:
    if len(sys.argv) not in (2, 3) or sys.argv[1] in ("-h", "--help"):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        module = Module.load(sys.argv[1])
        if len(sys.argv) == 2:
            print(json.dumps(json.loads(module.describe()), indent=2, ensure_ascii=False))
        else:
            Session(module).play(sys.argv[2])
    except (NotAModule, ScriptError, OSError) as error:
        print(f"alex_host: {error}", file=sys.stderr)
        return 2
    except BrokenContract as error:
        print(f"alex_host: the module broke the contract: {error}", file=sys.stderr)
        return 3
    return 0


sys.exit(main())
