/*
 * library.c: the functions of delc.so that this library calls.
 *
 * They are looked up when they are first needed, so that this library can be
 * loaded on its own.
 */
#include "bridge.h"

DelcLibrary delc_library;

#define RESOLVE(member, name) \
	delc_library.member = (void *) load_external_function("$libdir/delc", name, true, NULL)

void
resolve_library(void)
{
	if (delc_library.tensor_encode != NULL)
		return;
	RESOLVE(tensor_header, "delc_tensor_header");
	RESOLVE(tensor_decode, "delc_tensor_decode");
	RESOLVE(plane_target, "delc_plane_target");
	RESOLVE(crc32c_add, "delc_crc32c_add");
	RESOLVE(fetched_open, "delc_fetched_open");
	RESOLVE(fetched_find, "delc_fetched_find");
	RESOLVE(fetched_close, "delc_fetched_close");
	RESOLVE(dtype_name, "delc_dtype_name");
	RESOLVE(dtype_lookup, "delc_dtype_lookup");
	RESOLVE(dtype_size, "delc_dtype_size");
	RESOLVE(packer_of_portal, "delc_packer_of_portal");
	RESOLVE(packer_of_handle, "delc_packer_of_handle");
	RESOLVE(buffer_retain, "delc_pack_buffer_retain");
	RESOLVE(buffer_release, "delc_pack_buffer_release");
	RESOLVE(dictionary_size, "delc_pack_dictionary_size");
	RESOLVE(dictionary_text, "delc_pack_dictionary_text");
	RESOLVE(progress_start, "delc_progress_start");
	RESOLVE(progress_report, "delc_progress_report");
	RESOLVE(progress_end, "delc_progress_end");
	RESOLVE(python_path, "delc_setting_python_path");
	RESOLVE(tensor_encode, "delc_tensor_encode");
}
