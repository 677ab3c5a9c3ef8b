/*
 * plain_select.c: queries of the caller's that give rows and change nothing.
 */
#include "plain_select.h"

#include "tcop/pquery.h"

/*
 * Only a SELECT that changes nothing: of a cursor, PostgreSQL runs every other
 * command to its end at the first fetch and then frees what lives with its
 * portal, a packer included.
 */
static bool
is_plain_select(SPIPlanPtr plan)
{
	List	   *sources = SPI_plan_get_plan_sources(plan);

	return list_length(sources) == 1 &&
		ChoosePortalStrategy(((CachedPlanSource *) linitial(sources))->query_list) == PORTAL_ONE_SELECT;
}

/* The query's plan; an error where it is not a plain SELECT.  SPI is connected. */
SPIPlanPtr
delc_prepare_select(const char *query, int cursor_options)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(query, 0, NULL, cursor_options);

	if (plan == NULL)
		elog(ERROR, "could not prepare the query: %s", SPI_result_code_string(SPI_result));
	if (!is_plain_select(plan))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the query does not return rows, or does more than that"),
				 errdetail("Query: %s", query),
				 errhint("Give one SELECT, VALUES or TABLE command that changes nothing.")));
	return plan;
}
