/* SPDX-License-Identifier: Apache-2.0
 *
 * Return codes of the core, and the record of where and why something failed.
 *
 * Every function that can fail returns an int: 0, a negative errno, or one of
 * the negative domain codes below (all beyond the errno range).  A function
 * that is handed a dlf_fault fills it in before it returns a non-zero code;
 * the caller adds what only it knows (the member's name, say).
 */
#ifndef DLF_ERROR_H
#define DLF_ERROR_H

#include <stdint.h>
#include <stdio.h>

enum {
	DLF_OK = 0,
	DLF_EFORMAT = -5001,      /* not the format, or malformed */
	DLF_ETRUNCATED = -5002,   /* the file ends before its headers say */
	DLF_ECHECKSUM = -5003,    /* the stored checksum does not match */
	DLF_EUNSUPPORTED = -5004, /* valid, but refused: encrypted ... */
	DLF_EMEMBER = -5005,      /* the archive has no member of that name */
	DLF_ECHANGED = -5006,     /* the file changed while being read */
	DLF_ENOTREGULAR = -5007,  /* a directory, FIFO, socket or device */
	DLF_ESAMPLE = -5008,      /* other samples than expected */
	DLF_ECANCELLED = -5009,   /* the ring was cancelled */
	DLF_EBUDGET = -5010,      /* over the byte budget for now */
	DLF_EEMPTY = -5011,       /* nothing is in flight */
	DLF_EMORE = -5012,        /* too few bytes at hand: fetch more */
	DLF_EMAKER = -5013,       /* the plan's maker knows what failed */
	DLF_ESTORE = -5014,       /* an object store refused, or failed */
};

#define DLF_MEMBER_MAX 96
#define DLF_DETAIL_MAX 160

typedef struct dlf_fault {
	int code;                     /* 0: no fault */
	uint64_t offset;              /* byte of the file */
	const char *what;             /* one static clause */
	char member[DLF_MEMBER_MAX];  /* "" where there is none */
	char detail[DLF_DETAIL_MAX];  /* what another machine said; "": nothing */
} dlf_fault;

/* Fill in a fault (which may be NULL) and return its code. */
static inline int dlf_fail(dlf_fault *fault, int code, uint64_t offset,
			   const char *what)
{
	if (fault) {
		fault->code = code;
		fault->offset = offset;
		fault->what = what;
		fault->detail[0] = '\0';
	}
	return code;
}

static inline void dlf_fault_clear(dlf_fault *fault)
{
	fault->code = DLF_OK;
	fault->offset = 0;
	fault->what = "";
	fault->member[0] = '\0';
	fault->detail[0] = '\0';
}

static inline void dlf_fault_member(dlf_fault *fault, const char *name)
{
	if (fault)
		snprintf(fault->member, sizeof(fault->member), "%s", name);
}

#endif
