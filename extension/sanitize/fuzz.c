/*
 * fuzz.c
 *	  Random damage to the tensor type's input, under the address and undefined
 *	  behaviour sanitizers.
 *
 * Usage: fuzz CASES.  Each case takes a valid text, stored value, wire message
 * or .npy file, damages it, and reads it from a block of just its size.  What
 * is accepted is read in every way, and printed and read once more.
 */
#include "tensor_format.h"

#include "server.h"

extern Datum delc_tensor_in(PG_FUNCTION_ARGS);
extern Datum delc_tensor_out(PG_FUNCTION_ARGS);
extern Datum delc_tensor_recv(PG_FUNCTION_ARGS);
extern Datum delc_tensor_from_npy(PG_FUNCTION_ARGS);
extern Datum delc_tensor_to_npy(PG_FUNCTION_ARGS);
extern Datum delc_tensor_cmp(PG_FUNCTION_ARGS);
extern Datum delc_tensor_multiply(PG_FUNCTION_ARGS);

typedef enum Form
{
	TEXT,
	STORED,
	WIRE,
	NPY,
	FORMS
} Form;

typedef struct Sample
{
	size_t		length;
	char	   *bytes;			/* malloc'd: outlives a case */
} Sample;

#define SAMPLES 40

static Sample corpus[FORMS][SAMPLES];

/* xorshift: the same cases every time */
static uint64 random_state = UINT64CONST(88172645463325252);

static uint32
draw(uint32 below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32) (random_state >> 32) % below;
}

static Datum
call(PGFunction function, Datum first, Datum second)
{
	LOCAL_FCINFO(fcinfo, 2);

	memset(fcinfo, 0, SizeForFunctionCallInfo(2));
	fcinfo->nargs = 2;
	fcinfo->args[0].value = first;
	fcinfo->args[1].value = second;
	return function(fcinfo);
}

/* ---- valid inputs ---- */

static void
keep(Form form, int i, const char *bytes, size_t length)
{
	corpus[form][i].length = length;
	corpus[form][i].bytes = memcpy(malloc(length), bytes, length);
}

static void
make_sample(int i)
{
	int			dtype = 1 + i % DELC_DTYPE_LAST;
	int64		dims[TENSOR_MAX_RANK] = {1, 1 + draw(3), i < 20 ? draw(4) : 2100, 1, 1, 1, 1, 1};
	int			rank = i < 20 ? draw(TENSOR_MAX_RANK + 1) : 3;
	DelcTensorHeader header;
	char	   *dense;
	char	   *wire;
	const char *text;
	struct varlena *value;

	delc_shape_set(&header, dtype, rank, dims, 0);
	dense = palloc(header.raw_bytes + 1);
	for (int64 byte = 0; byte < header.raw_bytes; byte++)
		dense[byte] = (char) (dtype == DELC_BOOL ? draw(2) : draw(i % 3 == 0 ? 256 : 12));
	value = delc_tensor_encode(dtype, rank, dims, dense);
	keep(STORED, i, VARDATA(value), VARSIZE(value) - VARHDRSZ);
	text = DatumGetCString(call(delc_tensor_out, PointerGetDatum(value), 0));
	keep(TEXT, i, text, strlen(text));
	value = (struct varlena *) DatumGetPointer(call(delc_tensor_to_npy, PointerGetDatum(value), 0));
	keep(NPY, i, VARDATA(value), VARSIZE(value) - VARHDRSZ);
	wire = palloc0(8 + 8 * rank + header.raw_bytes);
	wire[0] = (char) TENSOR_MAGIC_0;
	wire[1] = TENSOR_MAGIC_1;
	wire[2] = 1;
	wire[3] = dtype;
	wire[4] = rank;
	memcpy(wire + 8, dims, 8 * rank);
	memcpy(wire + 8 + 8 * rank, dense, header.raw_bytes);
	keep(WIRE, i, wire, 8 + 8 * rank + header.raw_bytes);
	release_all();
}

/* ---- damage ---- */

static char
random_byte(Form form)
{
	static const char letters[] = "0123456789{}[],.-+eENaInfx()tfulbase64:= ";
	static const unsigned char limits[] = {0, 1, 2, 8, 9, 0x7F, 0x80, 0xFF};

	if (form == TEXT)
		return letters[draw(sizeof(letters) - 1)];
	return (char) (draw(2) ? limits[draw(sizeof(limits))] : draw(256));
}

/* A damaged copy of a sample in a block of just its size. */
static char *
damaged(Form form, size_t *length)
{
	const Sample *sample = &corpus[form][draw(SAMPLES)];
	char	   *bytes = memcpy(palloc(sample->length + 1), sample->bytes, sample->length);
	char	   *exact;
	int			changes = 1 + draw(3);

	*length = sample->length;
	for (int i = 0; i < changes && *length > 0; i++)
	{
		/* headers come first */
		size_t		at = draw(draw(2) ? (uint32) Min(*length, 160) : (uint32) *length);

		if (draw(8) == 0)
			*length = at;
		else if (draw(6) == 0)
			memmove(bytes + at, bytes + at + 1, --*length - at);
		else
			bytes[at] = random_byte(form);
	}
	exact = palloc(*length + (form == TEXT));
	memcpy(exact, bytes, *length);
	if (form == TEXT)
		exact[*length] = '\0';
	return exact;
}

/* ---- reading ---- */

static struct varlena *
as_varlena(const char *bytes, size_t length)
{
	struct varlena *value = palloc(VARHDRSZ + length);

	SET_VARSIZE(value, VARHDRSZ + length);
	memcpy(VARDATA(value), bytes, length);
	return value;
}

static Datum
read_input(Form form, char *bytes, size_t length)
{
	StringInfoData message = {.data = bytes,.len = (int) length};
	struct varlena *value;

	switch (form)
	{
		case TEXT:
			return call(delc_tensor_in, CStringGetDatum(bytes), 0);
		case WIRE:
			return call(delc_tensor_recv, PointerGetDatum(&message), 0);
		case NPY:
			return call(delc_tensor_from_npy, PointerGetDatum(as_varlena(bytes, length)), 0);
		default:
			value = as_varlena(bytes, length);
			delc_tensor_verify(value);
			return PointerGetDatum(value);
	}
}

/* Use an accepted value in every way. */
static void
use(Datum value)
{
	DelcTensorHeader header;
	Datum		text;
	char	   *dense;

	delc_tensor_header(value, &header);
	if (header.raw_bytes > 1000000)
		return;					/* right, but slow */
	dense = palloc(header.raw_bytes + 1);
	for (int planes = 0; planes <= header.item_size; planes++)
		delc_tensor_decode(value, planes, dense + 1);
	text = call(delc_tensor_out, value, 0);
	if (DatumGetInt32(call(delc_tensor_cmp, value, call(delc_tensor_in, text, 0))) != 0)
	{
		fprintf(stderr, "lost in text: %s\n", DatumGetCString(text));
		abort();
	}
	delc_tensor_first_planes(value, 1);
	delc_tensor_as_dtype(value, DELC_FLOAT64);
	delc_tensor_as_dtype(value, DELC_BOOL);
	call(delc_tensor_multiply, value, value);	/* may overflow: an error */
	delc_tensor_as_dtype(value, DELC_UINT8);
}

int
main(int count, char **arguments)
{
	long		cases = count > 1 ? atol(arguments[1]) : 200000;
	volatile long accepted = 0;

	for (int i = 0; i < SAMPLES; i++)
		make_sample(i);
	for (long i = 0; i < cases; i++)
	{
		volatile Form form = i % FORMS;

		if (setjmp(on_error) == 0)
		{
			size_t		length;
			char	   *bytes = damaged(form, &length);
			Datum		value = read_input(form, bytes, length);

			accepted++;
			use(value);
		}
		release_all();
	}
	printf("%ld cases, %ld accepted, none out of bounds\n", cases, accepted);
	return accepted > 0 ? 0 : 1;
}
