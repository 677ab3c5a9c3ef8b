-- Data sets under version control: branches and tags, versions made by hand, comparing and merging versions, and dropping them.

CREATE FUNCTION delc.branch_dataset(version text, branch text)
RETURNS text
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("datasets.branch_dataset", version, branch)
$$;
COMMENT ON FUNCTION delc.branch_dataset(text, text) IS
$comment$Begins a branch at a version of a data set; returns what it is called, such as customers@cleaned. Versions are made on it with that name: commit_dataset('customers@cleaned'). The caller must be a member of the data set's owner.$comment$;

CREATE FUNCTION delc.tag_dataset(version text, tag text)
RETURNS text
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("datasets.tag_dataset", version, tag)
$$;
COMMENT ON FUNCTION delc.tag_dataset(text, text) IS
$comment$Gives a version of a data set a name that stays, such as customers@published; returns it. A version with a tag cannot be dropped. The caller must be a member of the data set's owner.$comment$;

CREATE FUNCTION delc.drop_dataset_ref(ref text)
RETURNS void
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
GD["delc"]("datasets.drop_dataset_ref", ref)
$$;
COMMENT ON FUNCTION delc.drop_dataset_ref(text) IS
$comment$Forgets a branch or tag (name@branch, name@tag) of a data set; the version stays. The branch main stays as well. The caller must be a member of the data set's owner or of delc_admin.$comment$;

CREATE FUNCTION delc.correct_dataset(
    name text,
    query text,
    message text DEFAULT NULL,
    kind text DEFAULT 'correction',
    remove boolean DEFAULT false)
RETURNS delc.dataset_result
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("datasets.correct_dataset", name, query, message, kind, remove)
$$;
COMMENT ON FUNCTION delc.correct_dataset(text, text, text, text, boolean) IS
$comment$Changes rows of a data set by hand, as a new version of main (name) or of a branch (name@branch); the source stays as it is.

query: rows that replace those of the same key; columns that it lacks keep their values, as in 'SELECT 17 AS id, 42 AS age'. remove: rows with these keys are taken away instead. kind: correction or cleaning. Keys that are not there are an error. A changed row stays in its split. The next commit_dataset() on the same branch takes the source's rows again.$comment$;

CREATE FUNCTION delc.append_dataset(name text, query text, message text DEFAULT NULL)
RETURNS delc.dataset_result
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("datasets.append_dataset", name, query, message)
$$;
COMMENT ON FUNCTION delc.append_dataset(text, text, text) IS
$comment$Adds the rows of a query to a data set, as a new version of main (name) or of a branch (name@branch); the source stays as it is.

The query has all columns; a key that is there already is an error. New rows fill the shares of the splits up.$comment$;

CREATE FUNCTION delc.split_dataset(
    name text,
    validation double precision DEFAULT 0.1,
    test double precision DEFAULT 0.2,
    stratify boolean DEFAULT true,
    seed bigint DEFAULT 0,
    message text DEFAULT NULL)
RETURNS delc.dataset_result
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("datasets.split_dataset", name, validation, test, stratify, seed, message)
$$;
COMMENT ON FUNCTION delc.split_dataset(text, double precision, double precision, boolean, bigint, text) IS
$comment$Splits the rows of a data set anew, as a new version: the same shares and seed give the split that create_dataset() would give. Rows whose split changes are stored again. Rows of later versions are split by these shares too.$comment$;

CREATE FUNCTION delc.revert_dataset(name text, version text, message text DEFAULT NULL)
RETURNS delc.dataset_result
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("datasets.revert_dataset", name, version, message)
$$;
COMMENT ON FUNCTION delc.revert_dataset(text, text, text) IS
$comment$Makes a new version of main (name) or of a branch (name@branch) that equals an older one (name@3, or 3 alone), with its columns and splits. Nothing of the history goes.$comment$;

CREATE FUNCTION delc.sample_dataset(
    version text,
    name text,
    fraction double precision DEFAULT NULL,
    rows bigint DEFAULT NULL,
    stratify boolean DEFAULT true,
    seed bigint DEFAULT 0,
    message text DEFAULT NULL)
RETURNS delc.dataset_result
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("datasets.sample_dataset", *args)
$$;
COMMENT ON FUNCTION delc.sample_dataset(text, text, double precision, bigint, boolean, bigint, text) IS
$comment$Draws rows of a version at random: sample_dataset('customers@3', 'customers@small', fraction => 0.1). They become a version on a new branch of the data set (name@branch), which takes next to no space, or a new data set (name without @), which stays when the first is dropped.

fraction: more than 0, at most 1; or rows: how many. Rows stay in their splits, and each split gives its share to within a row. stratify: so does each class of the target within each split, where the data set is stratified. seed: the same version and seed give the same rows; samples of two versions with one seed have most rows in common.

For a branch the caller must be a member of the data set's owner; for a new data set the right to read the version is enough. A data set that is a sample has no source to commit from.$comment$;

CREATE FUNCTION delc.dataset_difference_query(a text, b text)
RETURNS text
LANGUAGE plpython3u STABLE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("datasets.dataset_difference_query", a, b)
$$;
COMMENT ON FUNCTION delc.dataset_difference_query(text, text) IS
$comment$The query for the rows in which two versions of data sets differ; diff_dataset() runs it.$comment$;

CREATE FUNCTION delc.diff_dataset(a text, b text)
RETURNS TABLE (change text, key jsonb, old jsonb, new jsonb, columns text[])
LANGUAGE plpgsql STABLE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE delc.dataset_difference_query(a, b);
END
$$;
COMMENT ON FUNCTION delc.diff_dataset(text, text) IS
$comment$The rows that differ between two versions of a data set, matched by key: SELECT * FROM delc.diff_dataset('customers@1', 'customers').

change: added, removed or changed. old and new: the row in a and in b, with its split as delc_split. columns: those that differ in a changed row. Versions of two data sets may be compared where their keys have the same names and types.$comment$;

CREATE FUNCTION delc.summarize_diff(a text, b text)
RETURNS TABLE (
    column_name text, old_type text, new_type text, old_rows bigint, new_rows bigint, old_nulls bigint, new_nulls bigint,
    old_distinct bigint, new_distinct bigint, old_mean double precision, new_mean double precision,
    old_deviation double precision, new_deviation double precision, shift double precision, measure text)
LANGUAGE plpython3u STABLE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("datasets.summarize_diff", a, b)
$$;
COMMENT ON FUNCTION delc.summarize_diff(text, text) IS
$comment$How two versions of a data set differ, column by column: rows, NULLs, distinct values, mean and standard deviation (of finite numbers), and how far the distribution has shifted.

shift lies between 0 (the same) and 1 (nothing in common). measure says which: for numbers and times the two-sample Kolmogorov-Smirnov statistic, for texts, booleans, enums and uuids the total variation distance; NULLs do not count in it.$comment$;

CREATE FUNCTION delc.row_history(dataset text, key jsonb)
RETURNS TABLE (
    version text, change text, split text, state jsonb, columns text[], branches text[],
    kind text, message text, created_by text, created_at timestamptz, run_id bigint)
LANGUAGE plpython3u STABLE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("datasets.find_row_history", dataset, key)
$$;
COMMENT ON FUNCTION delc.row_history(text, jsonb) IS
$comment$The history of one row of a data set: a row for each version that added, changed or removed it, with who, when and why.

key: as JSON, such as '{"id": 7}', or the value alone where the key is one column; a whole row will do too: to_jsonb(customers). dataset: its name, for the versions of all branches; or a version (name@3, name@branch), for those that it comes from. state: the row in that version, NULL where it was removed. columns: those that changed, delc_split among them where the split did. branches: those that come from the version today. A merge is compared with the branch that it went into. A key that no version has gives no rows. delc.models_of_row() says which models were trained on it.$comment$;

CREATE TYPE delc.dataset_merge AS (
    dataset text,
    rows bigint,
    added bigint,
    removed bigint,
    key jsonb,
    base jsonb,
    ours jsonb,
    theirs jsonb
);
COMMENT ON TYPE delc.dataset_merge IS
'What a merge gave: one row with the version that it made, or one for each conflict, with the row in the last common version, in the branch merged into (ours) and in the version merged (theirs).';

CREATE FUNCTION delc.merge_dataset(
    target text,
    source text,
    message text DEFAULT NULL,
    resolutions text DEFAULT NULL,
    prefer text DEFAULT NULL)
RETURNS SETOF delc.dataset_merge
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("datasets.merge_dataset", target, source, message, resolutions, prefer)
$$;
COMMENT ON FUNCTION delc.merge_dataset(text, text, text, text, text) IS
$comment$Brings what a version (source) has changed since the last common version into a branch (target: name for main, or name@branch), row by row, matched by key.

Where both sides changed a row in different ways, nothing is merged, and the conflicts are returned as rows: key, base, ours, theirs (NULL: not there). Resolve them with prefer => 'ours', 'theirs' or 'base', or with resolutions => a query of the key and a column resolution that says one of these; resolutions go before prefer, and those of keys that are not in conflict are an error. Columns that one side alone added, dropped or gave another type are those of the result. Values that are new since in a column which the other side dropped are conflicts, and the column stays where a row is resolved for the side that has it. Values of a column that the other side gave another type are cast, where all its values came of a cast; else they are conflicts too. What a new column was filled with is no change, and different values in a column that both sides added are conflicts of those rows. Where the two have merged from one another before, their last common versions are merged first, in the same way; of a row that these have changed in different ways base is not known. A branch on which nothing happened meanwhile moves forward without a new version.$comment$;

CREATE FUNCTION delc.drop_dataset_version(version text)
RETURNS bigint
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("datasets.drop_dataset_version", version)
$$;
COMMENT ON FUNCTION delc.drop_dataset_version(text) IS
$comment$Drops a version of a data set; returns the number of stored rows that went with it, whose space later versions use again, as after any DELETE, or delc.compact_dataset() gives back. Refused where a branch or tag names it, where models were trained on it, and where several versions were made from it. Other versions keep their content, also in views and query texts made before; those of the dropped version mean nothing any more. The log keeps the runs. The caller must be a member of the data set's owner or of delc_admin.$comment$;

CREATE FUNCTION delc.prune_dataset(
    name text,
    keep_last integer DEFAULT 10,
    keep_tagged boolean DEFAULT true,
    dry_run boolean DEFAULT false)
RETURNS TABLE (dataset text, dropped boolean, reason text)
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("datasets.prune_dataset", name, keep_last, keep_tagged, dry_run)
$$;
COMMENT ON FUNCTION delc.prune_dataset(text, integer, boolean, boolean) IS
$comment$Drops the versions of a data set that nothing needs, and the rows that only they had; says of each version whether it went, or why it stays.

The newest keep_last versions of each branch stay, those with tags (unless keep_tagged is false: then tags go with their versions), those that models were trained on, and those that several versions were made from. dry_run only says what would go. Readers do not wait, and transactions with an older snapshot (REPEATABLE READ, pg_dump) go on seeing what there was. Later versions use the space again, as after any DELETE; delc.compact_dataset() gives it back to the operating system. Views and query texts of versions that stay keep giving them; those of versions that went mean nothing any more.$comment$;

CREATE FUNCTION delc.compact_dataset(name text)
RETURNS bigint
LANGUAGE plpython3u VOLATILE
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("datasets.compact_dataset", name)
$$;
COMMENT ON FUNCTION delc.compact_dataset(text) IS
$comment$Gives the space of rows that went with dropped versions back to the operating system; returns how many bytes.

Call it in a transaction after that of delc.prune_dataset() or delc.drop_dataset_version(). The rows are written anew as CLUSTER does it, in the order in which versions are read: readers and writers wait meanwhile, and rows that an older snapshot may still see stay until the next call. The caller must be a member of the data set's owner or of delc_admin.$comment$;

CREATE FUNCTION delc.keep_stored_columns() RETURNS event_trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lost text;
BEGIN
    SELECT pg_catalog.string_agg(DISTINCT gone.object_identity, ', ') INTO lost
    FROM pg_catalog.pg_event_trigger_dropped_objects() AS gone
    WHERE gone.object_type OPERATOR(pg_catalog.=) 'table column' AND gone.schema_name OPERATOR(pg_catalog.=) 'delc_data';
    IF lost IS NOT NULL THEN
        RAISE EXCEPTION 'versions of data sets have columns of a type that % would drop', tg_tag
            USING ERRCODE = 'dependent_objects_still_exist',
                  DETAIL = pg_catalog.format('It would take stored values with it: %s.', lost),
                  HINT = 'Keep the type (ALTER TYPE … SET SCHEMA moves it), or drop the data sets first with delc.drop_dataset().';
    END IF;
END
$$;
COMMENT ON FUNCTION delc.keep_stored_columns() IS
'Refuses commands that would drop columns of stored rows, such as DROP SCHEMA … CASCADE of the schema that a column''s type is in.';

CREATE EVENT TRIGGER delc_keep_stored_columns ON sql_drop EXECUTE FUNCTION delc.keep_stored_columns();
COMMENT ON EVENT TRIGGER delc_keep_stored_columns IS 'Keeps the columns of stored versions of data sets: see delc.keep_stored_columns().';

CREATE FUNCTION delc.keep_stored_fields() RETURNS event_trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'delc_keep_stored_fields';
COMMENT ON FUNCTION delc.keep_stored_fields() IS
'Refuses commands that would drop a field of a composite type, or a column of a table, that stored rows have values of the row type of: ALTER TYPE … DROP ATTRIBUTE, ALTER TABLE … DROP COLUMN. A field that is added is NULL in older values.';

CREATE EVENT TRIGGER delc_keep_stored_fields ON sql_drop EXECUTE FUNCTION delc.keep_stored_fields();
COMMENT ON EVENT TRIGGER delc_keep_stored_fields IS 'Keeps the values of stored versions of data sets as they are: see delc.keep_stored_fields().';

CREATE FUNCTION delc.keep_stored_names() RETURNS event_trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'delc_keep_stored_names';
COMMENT ON FUNCTION delc.keep_stored_names() IS
'Refuses ALTER TYPE … RENAME VALUE of an enum that stored rows have values of, ALTER TYPE … RENAME ATTRIBUTE of a composite type, and ALTER TABLE … RENAME COLUMN of a table whose whole rows are stored as values: they would read otherwise than they were committed. Values and fields may be added.';

CREATE EVENT TRIGGER delc_keep_stored_names ON ddl_command_start
WHEN TAG IN ('ALTER TYPE', 'ALTER TABLE', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'ALTER FOREIGN TABLE') EXECUTE FUNCTION delc.keep_stored_names();
COMMENT ON EVENT TRIGGER delc_keep_stored_names IS 'Keeps the values of stored versions of data sets as they are: see delc.keep_stored_names().';

CREATE VIEW delc.dataset_log AS
SELECT dataset.name, version.number AS version, dataset.name || '@' || version.number AS dataset, version.kind, version.message,
       ARRAY(SELECT base.number FROM delc.dataset_version_parents AS parent
             JOIN delc.dataset_versions AS base ON base.id = parent.parent_id
             WHERE parent.version_id = version.id ORDER BY parent.position) AS parents,
       ARRAY(SELECT ref.name FROM delc.dataset_refs AS ref WHERE ref.version_id = version.id AND ref.kind = 'branch' ORDER BY ref.name) AS branches,
       ARRAY(SELECT ref.name FROM delc.dataset_refs AS ref WHERE ref.version_id = version.id AND ref.kind = 'tag' ORDER BY ref.name) AS tags,
       version.created_by, version.created_at, version.rows, version.added, version.removed, version.run_id
FROM delc.datasets AS dataset
JOIN delc.dataset_versions AS version ON version.dataset_id = dataset.id;
COMMENT ON VIEW delc.dataset_log IS 'The history of every data set: what made each version, from which others, who, when and why; to be sorted by name and version.';
COMMENT ON COLUMN delc.dataset_log.parents IS 'Numbers of the versions that it was made from.';
COMMENT ON COLUMN delc.dataset_log.branches IS 'Branches whose newest version it is.';
COMMENT ON COLUMN delc.dataset_log.tags IS 'Tags that name it.';
