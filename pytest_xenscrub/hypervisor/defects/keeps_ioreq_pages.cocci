// SPDX-License-Identifier: GPL-2.0-only
// A broken hypervisor: a page for I/O requests to a device model keeps its first reference, so the
// domain that it belongs to is never freed.

@@
identifier s, buf, page;
@@
 static void ioreq_server_free_mfn(struct ioreq_server *s, bool buf)
 {
 ...
-put_page_alloc_ref(page);
 ...
 }
