"""Running the package's Python inside the server, where its rooms talk to PostgreSQL."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from support.cluster import Connection


def run_inside(connection: Connection, body: str, *arguments: Any) -> Any:
    """Runs ``body`` in PL/Python with the package loaded; it returns a JSON value. ``arguments`` come as ``args``."""
    indented = textwrap.dedent(body)
    connection.execute(
        "CREATE OR REPLACE FUNCTION pg_temp.run_inside(arguments jsonb) RETURNS jsonb LANGUAGE plpython3u"
        " TRANSFORM FOR TYPE delc.tensor AS $function$\n"
        'if "delc" not in GD: plpy.execute("SELECT delc.load_python()")\n'
        "import json\n"
        "args = json.loads(arguments)\n"
        "def work():\n" + textwrap.indent(indented, "    ") + "\n"
        "return json.dumps(work())\n$function$"
    )
    found = connection.execute("SELECT pg_temp.run_inside(%s)", [json.dumps(arguments)]).fetchone()
    assert found is not None
    return found[0]
