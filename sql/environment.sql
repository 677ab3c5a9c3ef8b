-- What the extension needs of its surroundings, checked where it matters: in the server process.
-- The Python part is written out here instead of in the package delc, because it has to answer when that is missing.

CREATE FUNCTION delc.check_server(
    OUT requirement text, OUT needed text, OUT found text, OUT ok boolean, OUT advice text
) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH setting AS (
        SELECT pg_catalog.current_setting('server_version_num')::integer AS version,
               pg_catalog.current_setting('shared_preload_libraries') AS preloaded,
               pg_catalog.current_setting('max_worker_processes')::integer AS workers,
               (SELECT pg_catalog.count(*)
                FROM pg_catalog.pg_stat_activity a
                WHERE a.backend_type <> ALL (ARRAY[
                    'client backend', 'walsender', 'walreceiver', 'walwriter', 'walsummarizer', 'checkpointer',
                    'background writer', 'startup', 'archiver', 'logger', 'autovacuum launcher', 'autovacuum worker',
                    'slotsync worker', 'io worker', 'standalone backend'])) AS busy
    ), extension AS (
        SELECT e.name::text, e.installed_version, e.default_version
        FROM pg_catalog.pg_available_extensions e
        WHERE e.name IN ('delc', 'plpython3u', 'vector')
    )
    SELECT 'PostgreSQL', '14 or later', pg_catalog.current_setting('server_version'), version >= 140000,
           'move to a supported version of PostgreSQL'
    FROM setting
    UNION ALL
    SELECT 'extension ' || e.name, 'version ' || e.default_version, e.installed_version,
           e.installed_version = e.default_version, pg_catalog.format('ALTER EXTENSION %I UPDATE;', e.name)
    FROM extension e
    UNION ALL
    SELECT 'shared_preload_libraries',
           CASE WHEN version >= 170000 THEN 'delc, or nothing from PostgreSQL 17 on' ELSE 'delc, for progress' END,
           preloaded,
           version >= 170000 OR pg_catalog.regexp_split_to_array(preloaded, '[\s",]+') @> ARRAY['delc'],
           pg_catalog.format('ALTER SYSTEM SET shared_preload_libraries = %s; and restart the server',
                             pg_catalog.concat_ws(', ', nullif(preloaded, ''), 'delc'))
    FROM setting
    UNION ALL
    SELECT 'max_worker_processes', 'one free, to record failed runs',
           pg_catalog.format('%s free of %s', workers - busy, workers), workers > busy,
           pg_catalog.format('ALTER SYSTEM SET max_worker_processes = %s; and restart the server', workers + 8)
    FROM setting
    UNION ALL
    SELECT 'zstd', 'tensors are compressed', pg_catalog.format('%s bytes of %s', stored, raw), stored < raw,
           'build the extension with libzstd: make install in delc''s sources'
    FROM (SELECT delc.raw_bytes(zeros) AS raw, delc.stored_bytes(zeros) AS stored
          FROM (SELECT pg_catalog.array_fill(0::real, ARRAY[4096])::delc.tensor AS zeros) z) s;
$$;

COMMENT ON FUNCTION delc.check_server() IS
    'The part of delc.check_environment() that concerns the server: versions, extensions and settings.';

CREATE FUNCTION delc.check_python(
    OUT requirement text, OUT needed text, OUT found text, OUT ok boolean, OUT advice text
) RETURNS SETOF record
LANGUAGE plpython3u VOLATILE AS $$
import getpass, importlib, os, platform, sys

path = [folder for folder in plpy.execute("SELECT current_setting('delc.python_path') AS p")[0]["p"].split(":") if folder]
user = getpass.getuser()
venvs = [v for v in (os.path.normpath(os.path.join(f, "../../..")) for f in path) if os.path.exists(v + "/pyvenv.cfg")]


def row(requirement, needed, found, ok, advice):
    return (requirement, needed, found, ok, advice)


def how_to_install(distribution, package):
    if venvs:
        return f"sudo {venvs[0]}/bin/python -m pip install '{distribution}', and open a new session"
    if sys.version_info >= (3, 13) and os.path.exists("/etc/debian_version"):
        return f"sudo apt-get install {package}, and open a new session"
    return "make install in delc's sources, or name the folder that has it in delc.python_path, and open a new session"


def check_folder(folder):
    readable = os.access(folder, os.R_OK | os.X_OK)
    found = "readable" if readable else "not readable" if os.path.exists(folder) else "not there"
    advice = "make install in delc's sources, or: ALTER SYSTEM SET delc.python_path = '...'; SELECT pg_reload_conf();"
    if os.path.exists(folder):
        advice = f"sudo chmod -R a+rX {folder}, and a+x for the folders above it"
    return row(f"delc.python_path {folder}", f"readable to {user}", found, readable, advice)


def check_package():
    """Loads the package delc the way every function does."""
    try:
        with plpy.subtransaction():
            plpy.execute("SELECT delc.load_python()")
    except plpy.SPIError as error:
        return row("Python package delc", "can be loaded", str(error), False, "repair the rows that are not ok")
    return row("Python package delc", "can be loaded", "loaded", True, None)


def numbers(version):
    return [int(part) for part in version.split("+")[0].split(".")[:2] if part.isdigit()]


def check_module(name, least, distribution, package):
    try:
        version = importlib.import_module(name).__version__
    except (ImportError, OSError, RuntimeError, AttributeError, ValueError, TypeError) as error:
        version, problem = None, f"{type(error).__name__}: {error}"
    ok = version is not None and numbers(version) >= numbers(least)
    advice = how_to_install(f"{distribution}>={least}", package)
    return row(f"Python module {name}", f"{least} or later", version or problem, ok, advice)


def check_threads():
    processors = os.cpu_count()
    threads = int(plpy.execute("SELECT current_setting('delc.threads') AS t")[0]["t"])
    return row("delc.threads", f"at most {processors}, the number of processors", str(threads), threads <= processors,
               f"ALTER SYSTEM SET delc.threads = {processors}; SELECT pg_reload_conf();")


def check_environment_variable(name):
    return row(name, "1 where the server is started",
               os.environ.get(name), os.environ.get(name) == "1",
               f"start the server with {name}=1 (on Debian in /etc/postgresql/*/*/environment), or backends start idle threads")


def check_memory():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    setting = "SELECT current_setting('delc.memory_limit') AS text, pg_size_bytes(current_setting('delc.memory_limit')) AS bytes"
    limit = plpy.execute(setting)[0]
    return row("delc.memory_limit", f"less than the machine's {memory >> 20} MB", limit["text"], limit["bytes"] < memory,
               f"ALTER SYSTEM SET delc.memory_limit = '{memory >> 21}MB'; SELECT pg_reload_conf();")


def check_all():
    yield row("Python", "3.11 or later", platform.python_version(), sys.version_info >= (3, 11),
              "build PL/Python with a later Python")
    for folder in path:
        yield check_folder(folder)
    yield check_package()
    added = [folder for folder in path if folder not in sys.path]
    sys.path[:0] = added
    try:
        yield check_module("numpy", "1.26", "numpy", "python3-numpy")
        yield check_module("torch", "2.6", "torch", "python3-torch")
        yield check_module("safetensors", "0.4", "safetensors", "python3-safetensors")
        yield check_module("sklearn", "1.2", "scikit-learn", "python3-sklearn")
    finally:
        sys.path[:] = [folder for folder in sys.path if folder not in added]
    yield check_environment_variable("OMP_NUM_THREADS")
    yield check_environment_variable("OPENBLAS_NUM_THREADS")
    yield check_threads()
    yield check_memory()


return list(check_all())
$$;

COMMENT ON FUNCTION delc.check_python() IS
    'The part of delc.check_environment() that concerns Python: the folders of delc.python_path, the modules found there, '
    'threads and memory. Works when modules are missing.';

CREATE FUNCTION delc.check_environment(
    OUT requirement text, OUT needed text, OUT found text, OUT ok boolean, OUT advice text
) RETURNS SETOF record
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.requirement, c.needed, c.found, c.ok, CASE WHEN NOT c.ok THEN c.advice END
    FROM (SELECT * FROM delc.check_server() UNION ALL SELECT * FROM delc.check_python()) c;
$$;

COMMENT ON FUNCTION delc.check_environment() IS
    'Checks what delc needs of its surroundings: one row per requirement with what is needed, what was found, whether '
    'that will do, and otherwise what to do about it.';
