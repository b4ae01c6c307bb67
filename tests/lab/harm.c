// SPDX-License-Identifier: GPL-2.0
/* Does harm to the kernel of a guest of the lab, as it is loaded with
 * what=lockup or what=oops. It never stays loaded. */

#include <linux/module.h>
#include <linux/sched.h>

static char *what = "";
module_param(what, charp, 0400);

static int __init harm_init(void)
{
	if (!strcmp(what, "lockup")) {
		unsigned long end = jiffies + 4 * HZ;

		/* Longer than twice watchdog_thresh, which the test makes 1. */
		preempt_disable();
		while (time_before(jiffies, end))
			cpu_relax();
		preempt_enable();
	} else if (!strcmp(what, "oops")) {
		/* The first page is never mapped. */
		WRITE_ONCE(*(volatile int *)8, 1);
	}
	return -ECANCELED;
}
module_init(harm_init);

MODULE_DESCRIPTION("Does harm to a guest of the lab");
MODULE_LICENSE("GPL");
