-- The parameter archive: storing tensors in little space, exactly, and getting them back fast.

CREATE FUNCTION delc.archive(
    scope text DEFAULT NULL,
    objective text DEFAULT 'budget',
    budget jsonb DEFAULT NULL,
    retrieval text DEFAULT 'independent',
    longest_chain integer DEFAULT 16,
    method text DEFAULT 'sub',
    planner text DEFAULT 'priced',
    dry_run boolean DEFAULT false,
    halves boolean DEFAULT false)
RETURNS TABLE (parameter text, stored_as text, base text, bytes_before bigint, bytes bigint)
LANGUAGE plpython3u VOLATILE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("archive.archive", *args)
$$;
COMMENT ON FUNCTION delc.archive(text, text, jsonb, text, integer, text, text, boolean, boolean) IS
$comment$Stores the parameters of models in less space, exactly: each tensor whole or as the difference from one like it, as a plan says that keeps every snapshot quick to get back. Numbers never change; predictions go on meanwhile, and see either form. Returns a row for each tensor; with dry_run the plan alone, with bytes as they are expected. Running it again after new versions changes what pays.

scope: a model, a version (name@7), a pattern of LIKE over names ('digits%'), or all models that the caller owns. objective: budget (least storage within the budget), smallest (least storage), fastest. budget: a factor on the shortest possible time, 2 unless said otherwise, or by class of snapshots: {"latest": 1.2, "tagged": 1.5, "used": 2, "other": {"milliseconds": 500}}; latest is what the newest version of a model predicts with, used was read by a run in the last 30 days. retrieval: whether the tensors of a snapshot are thought to be fetched one after the other (independent), at once (parallel), or with what they share fetched once (reusable). longest_chain: how many differences may follow one another. method: sub (smallest), planes (for progressive predictions: the leading bytes of a difference give the leading bytes of the tensor), xor. planner: the planners of the parameter archive: priced (the one to use), pas_mt, pas_pt, best_of_two, last, exact (the optimum, for small models). halves: whole tensors of float32, float16 and bfloat16 are stored in half planes, so that progressive reading can go on by half a byte of each number: in the room of dense, a quarter slower to decode where numbers are float32. Differences have whole planes alone; archiving again without it stores whole planes.$comment$;

CREATE FUNCTION delc.checkout(model text, planes integer DEFAULT NULL, retrieval text DEFAULT 'parallel')
RETURNS TABLE (name text, chunk integer, shape bigint[], learnable boolean, value delc.tensor)
LANGUAGE plpython3u STABLE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc_rows"]("archive.checkout", model, planes, retrieval)
$$;
COMMENT ON FUNCTION delc.checkout(text, integer, text) IS
$comment$The parameters of a version (digits@3) or snapshot (digits@3#5), however they are stored, a row for each or for each chunk of large ones. planes: only the leading bytes of each number, with zeros below; of what is stored whole or as differences of method planes, no more is read. retrieval: parallel (several at a time, decoded by as many threads as delc.threads says, in at most a sixteenth of delc.memory_limit), independent (one after the other, in at most 2.2 times the memory of the largest chunk and 32 MB), reusable (what several are made from is decoded once).$comment$;

CREATE FUNCTION delc.checkout_several(models text[], planes integer DEFAULT NULL, retrieval text DEFAULT 'reusable')
RETURNS TABLE (model text, name text, chunk integer, shape bigint[], learnable boolean, value delc.tensor)
LANGUAGE plpython3u STABLE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc_rows"]("archive.checkout_several", models, planes, retrieval)
$$;
COMMENT ON FUNCTION delc.checkout_several(text[], integer, text) IS
$comment$The parameters of several versions or snapshots, as checkout() gives those of one, with the name by which each was asked for. retrieval => 'reusable' decodes each stored value that they are made from once, however many of them need it, and keeps it only as long as it is needed; rows come in the order in which they follow from one another. planes and the other schemes: as for one.$comment$;

CREATE FUNCTION delc.verify_archive(scope text DEFAULT NULL)
RETURNS TABLE (parameter text, tensor_id bigint, problem text)
LANGUAGE plpython3u STABLE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("archive.verify_archive", scope)
$$;
COMMENT ON FUNCTION delc.verify_archive(text) IS
$comment$Reads every stored tensor, however it is stored, and compares its checksum: a row for each parameter that is damaged, none where all is well. scope: as for archive().$comment$;

CREATE FUNCTION delc.round_snapshots(scope text, scheme text, bits integer DEFAULT NULL, with_latest boolean DEFAULT false)
RETURNS TABLE (snapshot text, bytes_before bigint, bytes bigint, largest_change double precision)
LANGUAGE plpython3u VOLATILE
TRANSFORM FOR TYPE delc.tensor
AS $$
if "delc" not in GD: plpy.execute("SELECT delc.load_python()")
return GD["delc"]("archive.round_snapshots", scope, scheme, bits, with_latest)
$$;
COMMENT ON FUNCTION delc.round_snapshots(text, text, integer, boolean) IS
$comment$Rounds the learnable parameters of a model's or version's checkpoints for good, to save space: the exact numbers are gone. What versions predict with is rounded only where with_latest is true. delc.archive_report() tells beforehand what each scheme saves and costs: float16, bfloat16, fixed with 2 to 24 bits, uniform and distribution with 1 to 8 bits. delc.snapshots.scheme says of each snapshot whether and how it was rounded. Refused for snapshots that resume_training() could go on from.$comment$;

CREATE VIEW delc.archive_summary AS
SELECT model.name || '@' || version.number || coalesce('#' || snapshot.epoch, '') AS snapshot, snapshot.id AS snapshot_id, snapshot.scheme,
       pg_catalog.count(*) AS tensors,
       pg_catalog.count(*) FILTER (WHERE stored.base_id IS NOT NULL) AS differences,
       pg_catalog.max(stored.hops) AS longest_chain,
       pg_catalog.sum(delc.raw_bytes(stored.value))::bigint AS raw_bytes,
       pg_catalog.sum(delc.stored_bytes(stored.value))::bigint AS stored_bytes
FROM delc.snapshots AS snapshot
JOIN delc.model_versions AS version ON version.id = snapshot.version_id
JOIN delc.models AS model ON model.id = version.model_id
JOIN delc.snapshot_parameters AS parameter ON parameter.snapshot_id = snapshot.id
JOIN delc.stored_tensors AS stored ON stored.id = parameter.tensor_id
GROUP BY model.name, version.number, snapshot.id;
COMMENT ON VIEW delc.archive_summary IS
'How every snapshot is stored: how many of its tensors are differences, the most that follow one another, and bytes (raw and stored; a tensor that several snapshots have counts for each).';
