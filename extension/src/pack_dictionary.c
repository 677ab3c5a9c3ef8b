/*
 * pack_dictionary.c: numbering of distinct texts in the order of their first appearance.
 */
#include "pack.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

typedef struct DictionaryEntry
{
	const char *text;
	int32		code;
	uint32		hash;
	char		status;
} DictionaryEntry;

#define SH_PREFIX entries
#define SH_ELEMENT_TYPE DictionaryEntry
#define SH_KEY_TYPE const char *
#define SH_KEY text
#define SH_HASH_KEY(table, key) hash_bytes((const unsigned char *) (key), strlen(key))
#define SH_EQUAL(table, a, b) (strcmp(a, b) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) (entry)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#define FIRST_CAPACITY 64

struct PackDictionary
{
	MemoryContext context;
	entries_hash *entries;
	const char **texts;			/* by code */
	int32		size;
	int32		capacity;
};

static void
start_empty(PackDictionary *dictionary)
{
	dictionary->entries = entries_create(dictionary->context, FIRST_CAPACITY, NULL);
	dictionary->size = 0;
	dictionary->capacity = FIRST_CAPACITY;
	dictionary->texts = MemoryContextAlloc(dictionary->context, sizeof(char *) * FIRST_CAPACITY);
}

PackDictionary *
pack_dictionary_create(MemoryContext parent)
{
	PackDictionary *dictionary = MemoryContextAlloc(parent, sizeof(PackDictionary));

	dictionary->context = AllocSetContextCreate(parent, "delc dictionary", ALLOCSET_DEFAULT_SIZES);
	start_empty(dictionary);
	return dictionary;
}

void
pack_dictionary_reset(PackDictionary *dictionary)
{
	if (dictionary->size == 0)
		return;
	MemoryContextReset(dictionary->context);
	start_empty(dictionary);
}

static void
append_text(PackDictionary *dictionary, const char *text)
{
	if (dictionary->size == dictionary->capacity)
	{
		if (dictionary->capacity > PG_INT32_MAX / 2)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("a column has more than %d distinct values", PG_INT32_MAX / 2)));
		dictionary->capacity *= 2;
		dictionary->texts = repalloc_huge(dictionary->texts, sizeof(char *) * (Size) dictionary->capacity);
	}
	dictionary->texts[dictionary->size++] = text;
}

/* The code of a text; a text not seen before gets the next one. */
int32
pack_dictionary_code(PackDictionary *dictionary, const char *text)
{
	DictionaryEntry *entry = entries_lookup(dictionary->entries, text);
	bool		found;

	if (entry != NULL)
		return entry->code;

	text = MemoryContextStrdup(dictionary->context, text);
	entry = entries_insert(dictionary->entries, text, &found);
	entry->code = dictionary->size;
	append_text(dictionary, text);
	return entry->code;
}

int32
delc_pack_dictionary_size(const PackDictionary *dictionary)
{
	return dictionary->size;
}

const char *
delc_pack_dictionary_text(const PackDictionary *dictionary, int32 code)
{
	return dictionary->texts[code];
}
