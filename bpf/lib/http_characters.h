/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Character classes of RFC 9110 and 9112 as one table: a load per byte. */
#pragma once

#include "packet.h"

enum http_character {
	CHAR_TOKEN = 0x01,  /* methods, header names */
	CHAR_TARGET = 0x02, /* visible ASCII but '#': servers differ in where they cut a fragment off */
	CHAR_HOST = 0x04,
	CHAR_UPPER = 0x08,  /* << 2 is what lower case adds */
	CHAR_RUN = 0x10,    /* of a target: means nothing to the readings of a path */
};

enum {
	VISIBLE = CHAR_TARGET | CHAR_RUN,
	NAME = VISIBLE | CHAR_TOKEN | CHAR_HOST,
};

static const __u8 http_characters[256] = {
	['a' ... 'z'] = NAME,
	['A' ... 'Z'] = NAME | CHAR_UPPER,
	['0' ... '9'] = NAME,
	['!'] = NAME, ['$'] = NAME, ['&'] = NAME, ['\''] = NAME, ['*'] = NAME, ['+'] = NAME, ['-'] = NAME, ['.'] = NAME,
	['_'] = NAME, ['~'] = NAME,
	['%'] = NAME & ~CHAR_RUN,
	['('] = VISIBLE | CHAR_HOST, [')'] = VISIBLE | CHAR_HOST, ['='] = VISIBLE | CHAR_HOST, [':'] = VISIBLE | CHAR_HOST,
	['['] = VISIBLE | CHAR_HOST, [']'] = VISIBLE | CHAR_HOST, [';'] = VISIBLE | CHAR_HOST,
	['^'] = VISIBLE | CHAR_TOKEN, ['`'] = VISIBLE | CHAR_TOKEN, ['|'] = VISIBLE | CHAR_TOKEN,
	['#'] = CHAR_TOKEN,
	['"'] = VISIBLE, [','] = VISIBLE, ['<'] = VISIBLE, ['>'] = VISIBLE, ['@'] = VISIBLE, ['{'] = VISIBLE, ['}'] = VISIBLE,
	['/'] = CHAR_TARGET, ['\\'] = CHAR_TARGET, ['?'] = CHAR_TARGET,
};

inline_always __u8 http_class_of(__u8 byte)
{
	return http_characters[byte];
}

inline_always __u8 lower_case(__u8 byte)
{
	return byte + ((http_characters[byte] & CHAR_UPPER) << 2);
}

/* 0..15, or more for what is no hex digit. */
inline_always __u32 http_hex(__u8 byte)
{
	__u8 lower = byte | 0x20;

	if (byte >= '0' && byte <= '9')
		return byte - '0';
	return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : 16;
}

/* Bit 7 of the bytes of a word that end or spoil a header's value: below space (tab too: the slow way knows it) or DEL. The lowest
 * such bit is right; borrows may add others above it. */
inline_always __u64 http_word_ends(__u64 word)
{
	__u64 low = (word - 0x2020202020202020ULL) & ~word;
	__u64 del = word ^ 0x7f7f7f7f7f7f7f7fULL;

	del = (del - 0x0101010101010101ULL) & ~del;
	return (low | del) & 0x8080808080808080ULL;
}
