/*
 * plain_select.h: queries of the caller's that give rows and change nothing.
 */
#ifndef DELC_PLAIN_SELECT_H
#define DELC_PLAIN_SELECT_H

#include "postgres.h"

#include "executor/spi.h"

extern SPIPlanPtr delc_prepare_select(const char *query, int cursor_options);

#endif							/* DELC_PLAIN_SELECT_H */
