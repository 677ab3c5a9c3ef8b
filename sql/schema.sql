COMMENT ON SCHEMA delc IS
'The deep-learning life cycle: data sets, models and their versions, the log of every run, and the functions that train, test and use models.';

CREATE SCHEMA delc_data;
COMMENT ON SCHEMA delc_data IS
'The rows of data sets: one table for each data set, written by delc alone. Read a version with delc.dataset_query().';

-- Roles belong to the whole cluster; another database of it may have made them already.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) 'delc_user') THEN
        CREATE ROLE delc_user NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) 'delc_trainer') THEN
        CREATE ROLE delc_trainer NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) 'delc_admin') THEN
        CREATE ROLE delc_admin NOLOGIN;
    END IF;
END
$$;
GRANT delc_user TO delc_trainer;
GRANT delc_trainer TO delc_admin;
