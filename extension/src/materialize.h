/*
 * materialize.h: set-returning functions that fill a tuplestore, on every server version.
 */
#ifndef DELC_MATERIALIZE_H
#define DELC_MATERIALIZE_H

#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/tuplestore.h"

/* Prepares the function's result set; rows go to ->setResult with ->setDesc. */
static inline ReturnSetInfo *
begin_materialized_set(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

#if PG_VERSION_NUM >= 150000
	InitMaterializedSRF(fcinfo, 0);
#else
	MemoryContext old;
	TupleDesc	descriptor;

	if (result == NULL || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	old = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	result->returnMode = SFRM_Materialize;
	result->setResult = tuplestore_begin_heap(true, false, work_mem);
	result->setDesc = descriptor;
	MemoryContextSwitchTo(old);
#endif
	return result;
}

#endif							/* DELC_MATERIALIZE_H */
