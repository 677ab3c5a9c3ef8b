/*
 * fuzz.c
 *	  Random damage to the tensor type's input, under the address and undefined
 *	  behaviour sanitizers.
 *
 * Usage: fuzz CASES.  Each case takes a valid text, stored value, wire message
 * or .npy file, damages it, and reads it from a block of just its size.  What
 * is accepted is read in every way, and printed and read once more.
 */
#include "tensor_dense.h"

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

#define SAMPLES 80

static Sample corpus[FORMS][SAMPLES];

/* Planes of the samples by encoding: each must be there. */
static int	made[PLANE_TABLE + 1];

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

/* Numbers of every kind: noise, few, sizes by row and column like weights', rows that end in zeros. */
static void
draw_numbers(int i, const DelcTensorHeader *header, char *dense)
{
	int64		columns = header->rank == 0 ? 1 : header->dims[header->rank - 1];

	for (int64 element = 0; element < header->elements; element++)
	{
		unsigned char *bytes = (unsigned char *) dense + element * header->item_size;
		int			top = header->item_size - 1;

		for (int byte = 0; byte <= top; byte++)
			bytes[byte] = draw(i % 3 == 0 ? 256 : 12);
		if (header->dtype == DELC_BOOL)
			bytes[0] &= 1;
		else if (i % 8 == 5)	/* few */
			memset(bytes, draw(1 + i), header->item_size);
		else if (i % 8 == 6)	/* weights */
			bytes[top] = (draw(2) << 7) + 50 + element / columns % 4 + element % columns % 4 + draw(4) * draw(4);
		else if (i % 8 == 7)	/* rows */
			bytes[0] = element / columns % 3 == 0 ? bytes[0] : bytes[0] & 0xE0;
	}
}

static void
make_sample(int i)
{
	int			dtype = 1 + i % DELC_DTYPE_LAST;
	int64		dims[TENSOR_MAX_RANK] = {1, 1 + draw(3), i < 20 ? draw(4) : 2100, 1, 1, 1, 1, 1};
	int64		wide[TENSOR_MAX_RANK] = {40, 200 + draw(30)};
	int			rank = i < 20 ? draw(TENSOR_MAX_RANK + 1) : i % 2 == 0 ? 2 : 3;
	DelcTensorHeader header;
	char	   *dense;
	char	   *wire;
	const char *text;
	struct varlena *value;

	if (rank == 2 && i >= 20)
		memcpy(dims, wide, sizeof(dims));
	delc_shape_set(&header, dtype, rank, dims, 0);
	dense = palloc(header.raw_bytes + 1);
	draw_numbers(i, &header, dense);
	value = delc_tensor_encode(dtype, rank, dims, dense);
	if (i % 4 > 0)
		value = delc_tensor_compress(PointerGetDatum(value), i % 4 == 3);
	for (int p = 0; p < TENSOR_STORED_PLANES_MAX; p++)
	{
		TensorLayout layout;

		delc_layout_read(PointerGetDatum(value), &layout);
		if (p < layout.planes)
			made[layout.plane[p].encoding]++;
	}
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
	/* mostly as one without checksums, so that damage gets past them */
	if (form == STORED && *length >= TENSOR_FIXED_BYTES && draw(8) > 0)
		bytes[6] = TENSOR_FLAG_UNCHECKED;
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

/* Compress the value: the numbers and their first planes must be the same. */
static void
use_compressed(Datum value)
{
	Datum		bytes = PointerGetDatum(delc_tensor_compress(value, false));
	Datum		halves = PointerGetDatum(delc_tensor_compress(value, true));
	Datum		one = PointerGetDatum(delc_tensor_first_planes(value, 1));

	if (DatumGetInt32(call(delc_tensor_cmp, value, bytes)) != 0 ||
		DatumGetInt32(call(delc_tensor_cmp, bytes, halves)) != 0 ||
		DatumGetInt32(call(delc_tensor_cmp, one, PointerGetDatum(delc_tensor_first_planes(bytes, 1)))) != 0 ||
		DatumGetInt32(call(delc_tensor_cmp, PointerGetDatum(delc_tensor_first_planes(bytes, 2)),
						   PointerGetDatum(delc_tensor_first_planes(halves, 3)))) != 0)
	{
		fprintf(stderr, "lost in compression\n");
		abort();
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
	for (int planes = 0; planes <= 2 * header.item_size; planes++)
		delc_tensor_decode(value, planes, dense + 1);
	if (draw(100) == 0)			/* slow */
		use_compressed(value);
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
	for (int encoding = 0; encoding <= PLANE_TABLE; encoding++)
	{
		printf("%d planes of encoding %d\n", made[encoding], encoding);
		if (made[encoding] == 0)
			return 1;
	}
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
