#!/bin/bash
# Shows the tour, docs/tour.sql, on the private server, in a database of its own that is made anew each time.
# Variables: PG_CONFIG, PYTHON (for the tour's data), those of server.sh.
# shellcheck source=setup/common.sh
source "$(dirname "$0")/common.sh"

export DELC_DATABASE=tour
bin=$("$PG_CONFIG" --bindir)
"$root/setup/server.sh" renew
eval "$("$root/setup/server.sh" env)"
unset PGOPTIONS
cd "$root"
"$bin/psql" -X -v ON_ERROR_STOP=1 --echo-queries --pset=pager=off --set=SHOW_ALL_RESULTS=on <docs/tour.sql
cat <<END

To go on in this database:   make psql DATABASE=tour
For any other program:       eval "\$(make -s env DATABASE=tour)"
To stop the private server:  make down
END
