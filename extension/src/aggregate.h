/* Where an aggregate keeps its state. */
#ifndef DELC_AGGREGATE_H
#define DELC_AGGREGATE_H

#include "postgres.h"

#include "fmgr.h"

/* The context that lives as long as the aggregate; an error for a function that is called on its own. */
static inline MemoryContext
aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this function can only be called by an aggregate")));
	return context;
}

#endif
