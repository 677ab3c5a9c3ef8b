/*
 * stored_types.c
 *	  Commands that would change what stored versions of data sets read as, by
 *	  changing a type of theirs, are refused: dropping a field of a composite
 *	  type, also of a table's row type, and giving another name to a field or to
 *	  a value of an enum.
 *
 * The stored rows are not looked at. Fields that are added read as NULL in
 * them, and what else a type can be given PostgreSQL refuses itself where a
 * table has a column of it. These triggers run for every role, so they call
 * nothing in the schema delc, where not all may look something up; and they
 * leave the search path alone, since names in commands are found by it.
 */
#include "delc.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "executor/spi.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* The row types whose columns a command has dropped, where the types themselves are still there. */
#define DROPPED_FROM \
	"SELECT pg_catalog.array_agg(DISTINCT class.reltype)" \
	" FROM pg_catalog.pg_event_trigger_dropped_objects() AS gone" \
	" JOIN pg_catalog.pg_class AS class ON class.oid OPERATOR(pg_catalog.=) gone.objid" \
	" WHERE gone.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass" \
	" AND gone.objsubid OPERATOR(pg_catalog.>) 0 AND class.reltype OPERATOR(pg_catalog.<>) 0::pg_catalog.oid" \
	" AND class.relnamespace OPERATOR(pg_catalog.<>) pg_catalog.to_regnamespace('delc_data')::pg_catalog.oid"

/*
 * The row types in which a column of a relation ($1) gets another name: its
 * own, and those of tables that inherit from it or are of its type.
 */
#define RENAMED_IN \
	"WITH RECURSIVE renamed AS (" \
	" SELECT $1 AS id" \
	" UNION" \
	" SELECT step.child FROM renamed JOIN (" \
	" SELECT inhparent AS parent, inhrelid AS child FROM pg_catalog.pg_inherits" \
	" UNION ALL" \
	" SELECT t.typrelid, class.oid FROM pg_catalog.pg_class AS class" \
	" JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) class.reloftype" \
	") AS step ON step.parent OPERATOR(pg_catalog.=) renamed.id" \
	")" \
	" SELECT pg_catalog.array_agg(class.reltype)" \
	" FROM renamed JOIN pg_catalog.pg_class AS class ON class.oid OPERATOR(pg_catalog.=) renamed.id" \
	" WHERE class.reltype OPERATOR(pg_catalog.<>) 0::pg_catalog.oid"

/*
 * The stored columns whose values have values of these types ($1) in them:
 * what depends on a type is an array, domain or range of it, or a column,
 * whose table has a row type in turn.
 */
#define STORED_COLUMNS_OF \
	"WITH RECURSIVE used AS (" \
	" SELECT t.id FROM pg_catalog.unnest($1) AS t(id)" \
	" UNION" \
	" SELECT CASE WHEN depend.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass" \
	" THEN depend.objid ELSE class.reltype END" \
	" FROM used JOIN pg_catalog.pg_depend AS depend" \
	" ON depend.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass" \
	" AND depend.refobjid OPERATOR(pg_catalog.=) used.id" \
	" LEFT JOIN pg_catalog.pg_class AS class" \
	" ON depend.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass" \
	" AND class.oid OPERATOR(pg_catalog.=) depend.objid" \
	" WHERE depend.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass" \
	" OR (depend.objsubid OPERATOR(pg_catalog.>) 0 AND class.reltype OPERATOR(pg_catalog.<>) 0::pg_catalog.oid)" \
	")" \
	" SELECT pg_catalog.string_agg(DISTINCT pg_catalog.format('column %s of table %s.%s'," \
	" attribute.attname, schema.nspname, class.relname), ', ')" \
	" FROM used JOIN pg_catalog.pg_depend AS depend" \
	" ON depend.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass" \
	" AND depend.refobjid OPERATOR(pg_catalog.=) used.id" \
	" AND depend.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass" \
	" JOIN pg_catalog.pg_class AS class ON class.oid OPERATOR(pg_catalog.=) depend.objid" \
	" JOIN pg_catalog.pg_namespace AS schema ON schema.oid OPERATOR(pg_catalog.=) class.relnamespace" \
	" JOIN pg_catalog.pg_attribute AS attribute ON attribute.attrelid OPERATOR(pg_catalog.=) depend.objid" \
	" AND attribute.attnum OPERATOR(pg_catalog.=) depend.objsubid AND NOT attribute.attisdropped" \
	" WHERE schema.nspname OPERATOR(pg_catalog.=) 'delc_data'"

static void
connect_spi(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
}

/* The first value of the row that SPI has found; NULL for none. */
static Datum
found_value(bool *is_null)
{
	if (SPI_processed != 1)
		elog(ERROR, "expected one row, got " UINT64_FORMAT, SPI_processed);
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, is_null);
}

/* Refuses the command where stored rows have values of these types (oid[]). SPI is connected. */
static void
refuse_if_stored(Datum types, const char *what)
{
	Oid			argument = OIDARRAYOID;
	bool		is_null;
	Datum		columns;

	if (SPI_execute_with_args(STORED_COLUMNS_OF, 1, &argument, &types, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look up the columns that use a type");
	columns = found_value(&is_null);
	if (is_null)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("versions of data sets have values of a type that would %s", what),
			 errdetail("They would read otherwise than they were committed: %s.", TextDatumGetCString(columns)),
			 errhint("Make another type and give the source's column that; or drop the data sets first with delc.drop_dataset().")));
}

/*
 * keep_stored_fields(): on sql_drop, refuses to drop fields of composite types
 * that stored rows have.
 */
PG_FUNCTION_INFO_V1(delc_keep_stored_fields);
Datum
delc_keep_stored_fields(PG_FUNCTION_ARGS)
{
	bool		is_null;
	Datum		types;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		elog(ERROR, "not called by the event trigger manager");
	connect_spi();
	if (SPI_execute(DROPPED_FROM, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look up what was dropped");
	types = found_value(&is_null);
	if (!is_null)
		refuse_if_stored(types, "lose a field");
	SPI_finish();
	PG_RETURN_NULL();
}

/* A value of an enum gets another name. */
static void
keep_labels(AlterEnumStmt *statement)
{
	Datum		type = ObjectIdGetDatum(LookupTypeNameOid(NULL, makeTypeNameFromNameList(statement->typeName), true));

	if (statement->oldVal == NULL || !OidIsValid(DatumGetObjectId(type)))
		return;					/* a value is added, or PostgreSQL says itself what is wrong */
	connect_spi();
	refuse_if_stored(PointerGetDatum(construct_array(&type, 1, OIDOID, sizeof(Oid), true, TYPALIGN_INT)),
					 "call a value otherwise");
	SPI_finish();
}

/* A field of a composite type gets another name, or a column, which is a field of its table's row type. */
static void
keep_field_names(RenameStmt *statement)
{
	Oid			argument = OIDOID;
	Datum		relation;
	Datum		types;
	bool		is_null;

	if ((statement->renameType != OBJECT_ATTRIBUTE && statement->renameType != OBJECT_COLUMN) ||
		statement->relation == NULL)
		return;
	relation = ObjectIdGetDatum(RangeVarGetRelid(statement->relation, NoLock, true));
	if (!OidIsValid(DatumGetObjectId(relation)))
		return;
	connect_spi();
	if (SPI_execute_with_args(RENAMED_IN, 1, &argument, &relation, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look up the types of a column");
	types = found_value(&is_null);
	if (!is_null)
		refuse_if_stored(types, "call a field otherwise");
	SPI_finish();
}

/*
 * keep_stored_names(): before ALTER TYPE and ALTER TABLE, refuses to give
 * another name to a value of an enum, or to a field of a composite type, that
 * stored rows have.
 */
PG_FUNCTION_INFO_V1(delc_keep_stored_names);
Datum
delc_keep_stored_names(PG_FUNCTION_ARGS)
{
	Node	   *statement;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		elog(ERROR, "not called by the event trigger manager");
	statement = ((EventTriggerData *) fcinfo->context)->parsetree;
	if (IsA(statement, AlterEnumStmt))
		keep_labels((AlterEnumStmt *) statement);
	else if (IsA(statement, RenameStmt))
		keep_field_names((RenameStmt *) statement);
	PG_RETURN_NULL();
}
