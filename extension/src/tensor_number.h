/*
 * tensor_number.h
 *	  One element of a tensor as text.
 */
#ifndef DELC_TENSOR_NUMBER_H
#define DELC_TENSOR_NUMBER_H

#include "tensor_format.h"

extern void delc_number_print(StringInfo out, int dtype, const void *element);
extern void delc_number_parse(const char *token, int dtype, void *element);

#endif							/* DELC_TENSOR_NUMBER_H */
