#!/bin/bash
# Says what is left to do in an existing server after `make install`. Variable: PG_CONFIG.
# shellcheck source=setup/common.sh
source "$(dirname "$0")/common.sh"

major=$("$PG_CONFIG" --version | grep -oE '[0-9]+' | head -n 1)
cat <<END
delc is installed for $("$PG_CONFIG" --version). Nothing in a running server was changed. In the server that is to use it:

  1. Let it load delc at its start, for progress of running operations (postgresql.conf; keep what is listed):
         shared_preload_libraries = 'delc'
  2. Start it with one thread per backend; delc raises threads where it trains
     (on Debian: /etc/postgresql/$major/CLUSTER/environment):
         OMP_NUM_THREADS = '1'
         OPENBLAS_NUM_THREADS = '1'
  3. Restart it (on Debian: sudo pg_ctlcluster $major CLUSTER restart), and as a superuser in your database:
         CREATE EXTENSION delc CASCADE;
         SELECT * FROM delc.check_environment();
END
