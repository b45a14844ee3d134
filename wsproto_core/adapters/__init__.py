"""The second name of the adapters, in a checkout: ``wsproto_core.adapters.asyncio`` is ``adapters/asyncio``.

An installed package has copies of the files in this folder, and not this module. See docs/name.md.
"""

import os

__path__ = [os.path.abspath(os.path.join(__file__, "../../../adapters"))]
