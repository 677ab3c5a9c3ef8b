/*
 * server.h
 *	  See server.c.
 */
#ifndef SANITIZE_SERVER_H
#define SANITIZE_SERVER_H

#include <setjmp.h>

/* Where ereport(ERROR) jumps to. */
extern jmp_buf on_error;

/* Frees whatever was allocated with palloc. */
extern void release_all(void);

#endif							/* SANITIZE_SERVER_H */
