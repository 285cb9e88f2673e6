/*
 * Intrusive doubly linked lists with a head of the same type.
 *
 *   struct list head; list_init(&head); list_add_tail(&head, &item->node);
 *   list_for_each(n, &head) { struct item *i = list_entry(n, struct item, node); ... }
 *
 * list_del() leaves the node pointing to itself: deleting twice is harmless.
 * Threads: the caller locks.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

#define list_entry(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
/* NOLINTBEGIN(bugprone-macro-parentheses): n is declared here */
#define list_for_each(n, head) for (struct list *n = (head)->next; n != (head); n = n->next)
#define list_for_each_safe(n, head)                                           \
	for (struct list *n = (head)->next, *n##_next = n->next; n != (head); \
	     n = n##_next, n##_next = n->next)
/* NOLINTEND(bugprone-macro-parentheses) */

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_add_tail(struct list *head, struct list *n)
{
	n->prev = head->prev;
	n->next = head;
	head->prev->next = n;
	head->prev = n;
}

static inline void list_add_head(struct list *head, struct list *n)
{
	list_add_tail(head->next, n);
}

static inline void list_del(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

#endif
