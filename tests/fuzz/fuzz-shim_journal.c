/*
 * A journal of any bytes: each line that is one is written as it was read, and applied to a task,
 * which stays one that can be ended.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shim/record.h"
#include "shim/task.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const struct record *r)
{
	struct buf line, again, text;
	struct record back;

	buf_init(&line, 1 << 20);
	buf_init(&again, 1 << 20);
	buf_init(&text, 1 << 20);
	assert(record_write(r, &line) == 0);
	assert(record_read(line.data, line.len - 1, &back, &text) == 0);
	assert(record_write(&back, &again) == 0);
	assert(line.len == again.len && memcmp(line.data, again.data, line.len) == 0);
	buf_done(&line);
	buf_done(&again);
	buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct task_ops ops = {0};
	struct task task;
	struct record r;
	struct buf text;

	task_init(&task);
	buf_init(&text, 1 << 20);
	while (size > 0) {
		const uint8_t *nl = memchr(data, '\n', size);
		size_t n = nl != NULL ? (size_t)(nl - data) : size;

		text.len = 0;
		if (record_read((const char *)data, n, &r, &text) == 0) {
			check_round_trip(&r);
			(void)task_apply(&task, &r, &ops);
		}
		while (task_next_exit(&task, &r))
			assert(task_apply(&task, &r, &ops) == 0);
		n = nl != NULL ? n + 1 : n;
		data += n;
		size -= n;
	}
	buf_done(&text);
	task_done(&task, &ops);
	return 0;
}
