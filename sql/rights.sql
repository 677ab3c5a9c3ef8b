-- Who may do what: nothing for PUBLIC; delc_user predicts and reads the log, delc_trainer makes data sets and models as well and reads
-- parameters, delc_admin may change what others own. Tables are written by the functions alone.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA delc FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA delc FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA delc FROM PUBLIC;
REVOKE ALL ON TYPE delc.tensor FROM PUBLIC;
REVOKE ALL ON TYPE delc.dataset_result FROM PUBLIC;
REVOKE ALL ON TYPE delc.dataset_merge FROM PUBLIC;
REVOKE ALL ON TYPE delc.training_result FROM PUBLIC;
REVOKE ALL ON SCHEMA delc FROM PUBLIC;
REVOKE ALL ON SCHEMA delc_data FROM PUBLIC;

GRANT USAGE ON SCHEMA delc TO delc_user;
GRANT USAGE ON SCHEMA delc_data TO delc_user;
GRANT USAGE ON TYPE delc.tensor TO delc_user;
GRANT USAGE ON TYPE delc.dataset_result TO delc_user;
GRANT USAGE ON TYPE delc.dataset_merge TO delc_user;
GRANT USAGE ON TYPE delc.training_result TO delc_user;

GRANT SELECT ON ALL TABLES IN SCHEMA delc TO delc_user;
REVOKE SELECT ON delc.parameters, delc.stored_tensors, delc.optimizer_states, delc.file_chunks FROM delc_user;
GRANT SELECT ON delc.parameters, delc.stored_tensors, delc.optimizer_states, delc.file_chunks TO delc_trainer;

GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA delc TO delc_user;

-- Called by the package as the extension's owner, by other functions in C, or by PostgreSQL itself.
REVOKE EXECUTE ON FUNCTION
    delc.keep_stored_columns,
    delc.keep_stored_fields,
    delc.keep_stored_names,
    delc.announce_run,
    delc.finish_run,
    delc.record_failed_run,
    delc.write_failed_run,
    delc.tensor_to_python,
    delc.tensor_from_python,
    delc.prepare_prediction,
    delc.predict_packed,
    delc.predict_value_packed,
    delc.predict_probability_packed,
    delc.embed_packed,
    delc.run_prediction,
    delc.begin_predictions,
    delc.emit_predictions,
    delc.emit_details,
    delc.define_row_layout
FROM delc_user;

-- Making data sets and models.
REVOKE EXECUTE ON FUNCTION
    delc.train,
    delc.resume_training,
    delc.copy_model,
    delc.merge_models,
    delc.commit_parameters,
    delc.describe_parameters,
    delc.describe_parameters_progressive,
    delc.diff_parameters,
    delc.diff_parameters_progressive,
    delc.drop_alias,
    delc.drop_snapshot,
    delc.prune_model,
    delc.attach_file,
    delc.read_file,
    delc.detach_file,
    delc.set_alias,
    delc.drop_model
FROM delc_user;
GRANT EXECUTE ON FUNCTION
    delc.train,
    delc.resume_training,
    delc.copy_model,
    delc.merge_models,
    delc.commit_parameters,
    delc.describe_parameters,
    delc.describe_parameters_progressive,
    delc.diff_parameters,
    delc.diff_parameters_progressive,
    delc.drop_alias,
    delc.drop_snapshot,
    delc.prune_model,
    delc.attach_file,
    delc.read_file,
    delc.detach_file,
    delc.set_alias,
    delc.drop_model
TO delc_trainer;

REVOKE EXECUTE ON FUNCTION
    delc.create_dataset,
    delc.commit_dataset,
    delc.match_rows,
    delc.branch_dataset,
    delc.tag_dataset,
    delc.drop_dataset_ref,
    delc.correct_dataset,
    delc.append_dataset,
    delc.split_dataset,
    delc.revert_dataset,
    delc.sample_dataset,
    delc.merge_dataset,
    delc.drop_dataset_version,
    delc.prune_dataset,
    delc.compact_dataset,
    delc.drop_dataset,
    delc.grant_dataset,
    delc.revoke_dataset
FROM delc_user;
GRANT EXECUTE ON FUNCTION
    delc.create_dataset,
    delc.commit_dataset,
    delc.match_rows,
    delc.branch_dataset,
    delc.tag_dataset,
    delc.drop_dataset_ref,
    delc.correct_dataset,
    delc.append_dataset,
    delc.split_dataset,
    delc.revert_dataset,
    delc.sample_dataset,
    delc.merge_dataset,
    delc.drop_dataset_version,
    delc.prune_dataset,
    delc.compact_dataset,
    delc.drop_dataset,
    delc.grant_dataset,
    delc.revoke_dataset
TO delc_trainer;

-- What the functions of delc alone use.
REVOKE EXECUTE ON FUNCTION
    delc.fetch_stored,
    delc.restore_numbers,
    delc.restore_numbers_final,
    delc.restore_numbers_step
FROM delc_user;

-- The archive, and parameters out of it.
REVOKE EXECUTE ON FUNCTION
    delc.archive,
    delc.archive_report,
    delc.checkout,
    delc.checkout_several,
    delc.restored_tensor,
    delc.round_snapshots,
    delc.unchecked_tensor,
    delc.verify_archive
FROM delc_user;
GRANT EXECUTE ON FUNCTION
    delc.archive,
    delc.archive_report,
    delc.checkout,
    delc.checkout_several,
    delc.restored_tensor,
    delc.round_snapshots,
    delc.unchecked_tensor,
    delc.verify_archive
TO delc_trainer;

-- Models in and out. Parameters come by COPY into the snapshot of an import that is under way; a trigger guards all others.
GRANT INSERT ON delc.parameters TO delc_trainer;
REVOKE EXECUTE ON FUNCTION
    delc.import_state_dict,
    delc.import_program,
    delc.import_onnx,
    delc.import_parameters,
    delc.begin_import,
    delc.finish_import,
    delc.export_safetensors,
    delc.export_program,
    delc.export_onnx,
    delc.export_parameters
FROM delc_user;
GRANT EXECUTE ON FUNCTION
    delc.import_state_dict,
    delc.import_program,
    delc.import_onnx,
    delc.import_parameters,
    delc.begin_import,
    delc.finish_import,
    delc.export_safetensors,
    delc.export_program,
    delc.export_onnx,
    delc.export_parameters
TO delc_trainer;

-- What the text of a version's query calls, in a view too, which anybody may have been given: a view's functions run with the rights of
-- its reader. They read nothing but what they are handed.
GRANT EXECUTE ON FUNCTION delc.row_set_contains, delc.row_set_union TO PUBLIC;

-- Stored queries and configurations; delc.dql() itself asks for the rights of the functions whose work a query does.
REVOKE EXECUTE ON FUNCTION
    delc.save_query,
    delc.drop_query,
    delc.save_config,
    delc.drop_config
FROM delc_user;
GRANT EXECUTE ON FUNCTION
    delc.save_query,
    delc.drop_query,
    delc.save_config,
    delc.drop_config
TO delc_trainer;
