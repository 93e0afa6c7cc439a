/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Copies of judged bytes that the server has not acknowledged. A retransmission must equal them: which of two copies the server
 * reads is decided by rules (checksum, timestamps, window...) that are better not guessed at.
 *
 * A source may use only the slots that its address leads to, so that a few sources with half heads can't starve the others. Who holds
 * a slot for long without the server acknowledging anything loses it to the next who needs it, and is reset. */
#pragma once

#include "http_state.h"
#include "http_turn.h"

enum {
	BUFFER_TRIES = 64,          /* slots of one source */
	BUFFER_STALE_SECONDS = 20,
	BUFFER_NONE = -1,
	BUFFER_LOST = -2,           /* taken by another: what was judged is no longer known */
};

/* enum http_owner: who holds a slot. In use, since when, whose. */
#define OWNER_BUSY (1ULL << 63)
#define OWNER_SECONDS(word) ((__u32)((word) >> 32) & 0x7fffffff)

inline_always __u64 owner_word(const struct http_connection *connection, __u32 seconds)
{
	return (__u64)(seconds & 0x7fffffff) << 32 | connection->number;
}

struct http_search {
	const struct http_connection *connection;
	__u32 slot;
	__u32 step;
	__u32 now;
	__u32 found; /* slot + 1 */
};

static int try_slot(__u32 i, struct http_search *search)
{
	__u32 slot = (search->slot + i * search->step) & (HTTP_BUFFERS - 1);
	struct http_buffer *buffer = bpf_map_lookup_elem(&http_buffers, &slot);
	__u64 word;

	if (!buffer || !search->connection)
		return 1;
	word = *(volatile __u64 *)&buffer->owner;
	if (word && (word & OWNER_BUSY || search->now - OWNER_SECONDS(word) < BUFFER_STALE_SECONDS))
		return 0;
	if (__sync_val_compare_and_swap(&buffer->owner, word, owner_word(search->connection, search->now) | OWNER_BUSY) != word)
		return 0;
	if (word)
		http_tally(HTTP_COUNT_STALE_BUFFER);
	buffer->first = buffer->last = buffer->position = 0;
	search->found = slot + 1;
	return 1;
}

/* An IPv6 source is its /64: whoever has one address of it has them all. */
inline_always __u32 source_hash(const struct http_key *key)
{
	const __u32 *words = (const __u32 *)key->client.bytes;

	return (words[0] * 0x9e3779b1U ^ words[1] * 0x85ebca6bU) * 0xc2b2ae35U;
}

/* Drops what the server has acknowledged. */
struct http_forgetting {
	struct http_buffer *buffer;
	struct http_connection *connection;
};

static int forget_region(LOOP_ROUND, struct http_forgetting *x)
{
	struct http_connection *connection = x->connection;
	struct http_buffer *buffer = x->buffer;
	struct http_region *region;

	if (!buffer || !connection || buffer->first == buffer->last)
		return 1;
	region = &buffer->regions[buffer->first & (HTTP_REGIONS - 1)];
	if (region->offset + region->size > connection->acked)
		return 1;
	buffer->first++;
	return 0;
}

inline_always void buffer_forget(struct http_buffer *buffer, struct http_connection *connection)
{
	struct http_forgetting x = { .buffer = buffer, .connection = connection };

	if (connection->acked >= connection->structure_end) {
		buffer->first = buffer->last = buffer->position = 0;
		return;
	}
	bpf_loop(HTTP_REGIONS, forget_region, &x, 0);
}

/* The connection's buffer, for this turn; given back with buffer_put(). NULL: none is free, or (connection->buffer is not 0) it is
 * lost. */
stage struct http_buffer *buffer_get(struct http_turn *turn, struct http_connection *connection)
{
	__u32 now = clock_seconds(), hash = source_hash(&turn->key), slot;
	struct http_search search = { .connection = connection, .slot = hash >> 8, .step = (hash & 0xff) << 1 | 1, .now = now };
	struct http_buffer *buffer;
	__u64 word, wanted;

	if (!connection->buffer) {
		bpf_loop(BUFFER_TRIES, try_slot, &search, 0);
		if (!search.found) {
			http_tally(HTTP_COUNT_NO_BUFFER);
			return 0;
		}
		connection->buffer = search.found;
		connection->buffer_acked = connection->acked;
		slot = search.found - 1;
		return bpf_map_lookup_elem(&http_buffers, &slot);
	}
	slot = connection->buffer - 1;
	buffer = bpf_map_lookup_elem(&http_buffers, &slot);
	if (!buffer)
		return 0;
	word = *(volatile __u64 *)&buffer->owner;
	if ((__u32)word != connection->number || word & OWNER_BUSY)
		return 0;
	wanted = word | OWNER_BUSY;
	if (connection->buffer_acked != connection->acked)
		wanted = owner_word(connection, now) | OWNER_BUSY;
	if (__sync_val_compare_and_swap(&buffer->owner, word, wanted) != word)
		return 0;
	connection->buffer_acked = connection->acked;
	buffer_forget(buffer, connection);
	return buffer;
}

inline_always void buffer_put(struct http_buffer *buffer)
{
	*(volatile __u64 *)&buffer->owner = buffer->owner & ~OWNER_BUSY;
}

/* Nothing unacknowledged is left to compare with. */
stage void buffer_release(struct http_connection *connection)
{
	__u32 slot = connection->buffer - 1;
	struct http_buffer *buffer = bpf_map_lookup_elem(&http_buffers, &slot);
	__u64 word;

	connection->buffer = 0;
	if (!buffer)
		return;
	word = *(volatile __u64 *)&buffer->owner;
	if ((__u32)word == connection->number)
		__sync_val_compare_and_swap(&buffer->owner, word, 0);
}

/* Where `size` more bytes can lie in one stretch, or BUFFER_NONE. */
inline_always int buffer_room(struct http_buffer *buffer, __u32 size)
{
	__u32 position = buffer->position, tail;

	if (buffer->first == buffer->last)
		return 0;
	if (buffer->last - buffer->first >= HTTP_REGIONS)
		return BUFFER_NONE;
	tail = buffer->regions[buffer->first & (HTTP_REGIONS - 1)].position;
	if (position < tail)
		return position + size < tail ? (int)position : BUFFER_NONE;
	if (position + size <= HTTP_BUFFER_BYTES)
		return position;
	return size < tail ? 0 : BUFFER_NONE;
}

/* Keeps the first turn->structure bytes of the piece in hand, which lies at `offset` in the stream. */
stage int buffer_store(struct http_buffer *buffer, struct http_turn *turn, __u64 offset)
{
	__u32 size = turn->structure, last = buffer->last;
	struct http_region *region;
	int room = buffer_room(buffer, size);
	__u32 position = room;

	if (room < 0)
		return BUFFER_NONE;
	barrier_var(position);
	barrier_var(size);
	if (position > HTTP_BUFFER_BYTES || size < 1 || size > HTTP_PIECE_MAX)
		return BUFFER_NONE;
	if (bpf_probe_read_kernel(&buffer->bytes[position], size, turn->bytes))
		return BUFFER_NONE;
	buffer->position = position + size;
	region = &buffer->regions[(last - 1) & (HTTP_REGIONS - 1)];
	if (last != buffer->first && region->offset + region->size == offset && region->position + region->size == position) {
		region->size += size;
		return 0;
	}
	region = &buffer->regions[last & (HTTP_REGIONS - 1)];
	region->offset = offset;
	region->position = position;
	region->size = size;
	buffer->last = last + 1;
	return 0;
}

inline_always void buffer_mark(const struct http_buffer *buffer, struct http_mark *mark)
{
	mark->last = buffer->last;
	mark->position = buffer->position;
	mark->last_size = buffer->regions[(buffer->last - 1) & (HTTP_REGIONS - 1)].size;
}

/* Forgets what was stored since the mark. */
inline_always void buffer_rewind(struct http_buffer *buffer, const struct http_mark *mark)
{
	buffer->last = mark->last;
	buffer->position = mark->position;
	buffer->regions[(mark->last - 1) & (HTTP_REGIONS - 1)].size = mark->last_size;
}

/* ------------------------------------------------------------------------------------------------------- comparing */

struct http_comparing {
	struct __sk_buff *skb;
	struct http_turn *turn;
	struct http_buffer *buffer;
	__u64 start; /* offset of the segment's first byte */
	__u64 end;   /* of what is to be compared */
	__u32 position; /* in the buffer, of the piece in hand */
	__u32 size;
};

static int compare_word(__u32 i, struct http_comparing *y)
{
	struct http_buffer *buffer = y->buffer;
	struct http_turn *turn = y->turn;
	__u32 at = i * 8, position = y->position + at;
	__u64 judged, now;

	if (!buffer || !turn || at >= y->size)
		return 1;
	if (at > HTTP_PIECE_MAX || position > HTTP_BUFFER_BYTES + HTTP_PIECE_MAX)
		return 1;
	judged = *(__u64 *)&buffer->bytes[position];
	now = *(__u64 *)&turn->bytes[at];
	if (y->size - at < 8) {
		__u32 shift = (8 - (y->size - at)) * 8 & 63;

		judged <<= shift;
		now <<= shift;
	}
	if (judged == now)
		return 0;
	turn->different = 1;
	return 1;
}

static int compare_region(LOOP_ROUND, struct http_comparing *y)
{
	struct http_buffer *buffer = y->buffer;
	struct http_turn *turn = y->turn;
	struct http_region *region;
	__u64 end, left;
	__u32 n, from;

	if (!buffer || !turn || turn->region == buffer->last || turn->compared >= y->end)
		return 1;
	region = &buffer->regions[turn->region & (HTTP_REGIONS - 1)];
	end = region->offset + region->size;
	if (end <= turn->compared) {
		turn->region++;
		return 0;
	}
	if (region->offset >= y->end)
		return 1;
	if (turn->compared < region->offset)
		turn->compared = region->offset;
	if (end > y->end)
		end = y->end;
	left = end - turn->compared;
	n = left < HTTP_PIECE_MAX ? left : HTTP_PIECE_MAX;
	from = turn->segment.data + (__u32)(turn->compared - y->start);
	barrier_var(n);
	turn->different = 1;
	if (n < 1 || n > HTTP_PIECE_MAX)
		return 1;
	if (checked(bpf_skb_pull_data(y->skb, from + n), SITE_PULL_DATA) < 0 ||
	    checked(bpf_skb_load_bytes(y->skb, from, turn->bytes, n), SITE_LOAD_BYTES) < 0)
		return 1;
	turn->different = 0;
	y->position = region->position + (__u32)(turn->compared - region->offset);
	y->size = n;
	bpf_loop((n + 7) / 8, compare_word, y, 0);
	turn->compared += n;
	return turn->different ? 1 : 0;
}

/* Whether the segment's bytes [from, end) differ from what was judged there. */
inline_always int buffer_differs(struct __sk_buff *skb, struct http_turn *turn, struct http_buffer *buffer, __u64 start, __u64 from,
				 __u64 end)
{
	struct http_comparing y = { .skb = skb, .turn = turn, .buffer = buffer, .start = start, .end = end };

	turn->compared = from;
	turn->region = buffer->first;
	turn->different = 0;
	http_tally(HTTP_COUNT_COMPARED);
	bpf_loop(2 * HTTP_REGIONS, compare_region, &y, 0);
	return turn->different;
}
