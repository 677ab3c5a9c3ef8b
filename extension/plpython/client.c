/*
 * client.c: whether the session's client is still there.
 *
 * PostgreSQL looks at the client's socket while a statement runs only where
 * client_connection_check_interval is set. Long work asks for itself.
 */
#include "bridge.h"

#include <poll.h>

/*
 * Only the socket of a Port is read, its first field; the headers of the
 * libraries that others are of need not be there.
 */
#undef ENABLE_GSS
#undef USE_OPENSSL
#include "libpq/libpq-be.h"
#include "miscadmin.h"

/*
 * Whether the other end of the client's connection has been closed. Not
 * pq_check_connection(), which may throw, and which PostgreSQL 14 lacks;
 * where the system does not tell of closed ends, nobody is ever gone.
 */
static bool
is_gone(pgsocket connection)
{
#ifdef POLLRDHUP
	struct pollfd end = {.fd = connection, .events = POLLRDHUP};

	return poll(&end, 1, 0) > 0 && (end.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
#else
	return false;
#endif
}

/*
 * Whether the client is gone; the session then ends at the next occasion, as
 * it would by client_connection_check_interval. Sessions without a client,
 * such as background workers, go on.
 */
PyObject *
client_gone(PyObject *self, PyObject *arguments)
{
	if (MyProcPort == NULL || MyProcPort->sock == PGINVALID_SOCKET || !is_gone(MyProcPort->sock))
		Py_RETURN_FALSE;
	ClientConnectionLost = true;
	InterruptPending = true;
	Py_RETURN_TRUE;
}
