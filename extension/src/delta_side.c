/*
 * delta_side.c
 *	  What a delta says of its rows and columns: predictors, scales, the table of steps.
 *
 * Each is a piece of bytes: four bytes of length, one of PieceEncoding, and the content.
 */
#include "delta.h"

typedef enum PieceEncoding
{
	PIECE_RAW = 0,
	PIECE_RANS = 1,
	PIECE_ZSTD = 2,
	PIECE_CONSTANT = 3
} PieceEncoding;

#define PIECE_HEADER_BYTES 5

/* ---- write ---- */

static void
write_piece(StringInfo out, int encoding, const void *content, uint32 length)
{
	char		head[PIECE_HEADER_BYTES];

	memcpy(head, &length, 4);
	head[4] = encoding;
	appendBinaryStringInfo(out, head, PIECE_HEADER_BYTES);
	appendBinaryStringInfo(out, content, (int) length);
}

static bool
is_constant(const uint8 *bytes, size_t n)
{
	for (size_t i = 1; i < n; i++)
	{
		if (bytes[i] != bytes[0])
			return false;
	}
	return n > 0;
}

/* Bytes with no order in them to speak of. */
void
delc_bytes_write(StringInfo out, const uint8 *bytes, size_t n)
{
	RansModel  *rans;
	uint8	   *packed;
	size_t		length;

	if (is_constant(bytes, n))
	{
		write_piece(out, PIECE_CONSTANT, bytes, 1);
		return;
	}
	rans = palloc(sizeof(RansModel));
	rans->waste = 0;
	packed = palloc(n);
	delc_rans_learn(rans, bytes, NULL, 1, n);
	length = delc_rans_encode(rans, bytes, NULL, n, packed, n);
	if (length > 0)
		write_piece(out, PIECE_RANS, packed, (uint32) length);
	else
		write_piece(out, PIECE_RAW, bytes, (uint32) n);
	pfree(packed);
	pfree(rans);
}

/* The table as differences of neighbours: it has few steps. */
static void
write_table(StringInfo out, const int32 *table, int entries)
{
	size_t		n = entries * sizeof(int32);
	int32	   *differences = palloc(n);
	char	   *packed = palloc(n);
	size_t		length;

	for (int i = 0; i < entries; i++)
		differences[i] = (int32) ((uint32) table[i] - (i == 0 ? 0 : (uint32) table[i - 1]));
	length = delc_plane_compress((char *) differences, n, packed, n);
	if (length > 0)
		write_piece(out, PIECE_ZSTD, packed, (uint32) length);
	else
		write_piece(out, PIECE_RAW, differences, (uint32) n);
	pfree(packed);
	pfree(differences);
}

void
delc_side_write(StringInfo out, const DeltaModel *model)
{
	if (model->flags & DELTA_PREDICTORS)
		delc_bytes_write(out, model->predictor, model->rows);
	if (model->flags & DELTA_ROW_SCALES)
		delc_bytes_write(out, (uint8 *) model->row_scale, model->rows);
	if (model->flags & DELTA_COLUMN_SCALES)
		delc_bytes_write(out, (uint8 *) model->column_scale, model->columns);
	if (model->flags & DELTA_TABLE)
		write_table(out, model->table, 1 << delc_table_bits(model->dtype));
}

/* ---- read ---- */

typedef struct SideReader
{
	const char *at;
	const char *end;
} SideReader;

static void
unpack(int encoding, const char *content, uint32 length, uint8 *bytes, size_t n)
{
	uint32	   *table;
	bool		right = false;

	switch (encoding)
	{
		case PIECE_RAW:
			right = length == n;
			if (right)
				memcpy(bytes, content, n);
			break;
		case PIECE_CONSTANT:
			right = length == 1;
			if (right)
				memset(bytes, content[0], n);
			break;
		case PIECE_ZSTD:
			delc_plane_decompress(content, length, (char *) bytes, n, ERRCODE_DATA_CORRUPTED);
			return;
		case PIECE_RANS:
			table = palloc(RANS_TABLE_ENTRIES(1) * sizeof(uint32));
			right = delc_rans_decode((const uint8 *) content, length, NULL, 1, n, bytes, table);
			pfree(table);
			break;
	}
	if (!right)
		delc_delta_damaged("Its side information cannot be decoded.");
}

/* The piece of n bytes that begins at *at, which moves to behind it. */
uint8 *
delc_bytes_read(const char **at, const char *end, size_t n)
{
	uint32		length;
	uint8	   *bytes;

	if (end - *at < PIECE_HEADER_BYTES)
		delc_delta_damaged("Its side information is cut off.");
	memcpy(&length, *at, 4);
	if (length > end - *at - PIECE_HEADER_BYTES)
		delc_delta_damaged("Its side information is cut off.");
	bytes = palloc(Max(n, 1));
	unpack((unsigned char) (*at)[4], *at + PIECE_HEADER_BYTES, length, bytes, n);
	*at += PIECE_HEADER_BYTES + length;
	return bytes;
}

static void *
read_piece(SideReader *reader, size_t n)
{
	return delc_bytes_read(&reader->at, reader->end, n);
}

static int32 *
read_table(SideReader *reader, int entries)
{
	int32	   *table = read_piece(reader, entries * sizeof(int32));

	for (int i = 1; i < entries; i++)
		table[i] = (int32) ((uint32) table[i] + (uint32) table[i - 1]);
	return table;
}

static void
check_predictors(const DeltaModel *model)
{
	bool		table = (model->flags & DELTA_TABLE) != 0;

	for (int64 row = 0; row < model->rows; row++)
	{
		if (model->predictor[row] == DELTA_BY_TABLE && !table)
			delc_delta_damaged("A row is predicted by a table, and there is none.");
	}
}

/* Fill in what the model's flags say; palloc'd. */
void
delc_side_read(const char *side, uint32 length, DeltaModel *model)
{
	SideReader	reader = {side, side + length};

	model->predictor = NULL;
	model->row_scale = NULL;
	model->column_scale = NULL;
	model->table = NULL;
	if (model->flags & DELTA_PREDICTORS)
		model->predictor = read_piece(&reader, model->rows);
	if (model->flags & DELTA_ROW_SCALES)
		model->row_scale = read_piece(&reader, model->rows);
	if (model->flags & DELTA_COLUMN_SCALES)
		model->column_scale = read_piece(&reader, model->columns);
	if (model->flags & DELTA_TABLE)
		model->table = read_table(&reader, 1 << delc_table_bits(model->dtype));
	if (model->predictor != NULL)
		check_predictors(model);
	if (reader.at != reader.end)
		delc_delta_damaged("There are bytes behind its side information.");
}

void
delc_model_free(DeltaModel *model)
{
	if (model->predictor != NULL)
		pfree(model->predictor);
	if (model->row_scale != NULL)
		pfree(model->row_scale);
	if (model->column_scale != NULL)
		pfree(model->column_scale);
	if (model->table != NULL)
		pfree(model->table);
}
