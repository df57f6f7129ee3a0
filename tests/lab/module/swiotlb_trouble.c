// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device that brings swiotlb into trouble, as it is told to.
 *
 * A line written to /sys/kernel/debug/swiotlb_trouble/do is done at once:
 *
 *   map BYTES TIMES        make mappings and hold them
 *   unmap TIMES STEP       release held mappings, of every STEP the first, from the oldest on
 *   offset BYTES           mappings begin so far behind the beginning of a page, from now on
 *   align MASK             dma_set_min_align_mask(): they keep these bits of that
 *   boundary MASK          dma_set_seg_boundary(): none crosses a multiple of MASK + 1
 *   reach BITS             dma_set_mask(): the device reaches addresses of so many bits
 *
 * /sys/kernel/debug/swiotlb_trouble/held says how many are held, and how many could not be made.
 */
#include <linux/debugfs.h>
#include <linux/dma-mapping.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define NAME	     "swiotlb_trouble"
#define BUFFER_ORDER 8 /* 1 MiB: all mappings are of the same buffer */
#define LONGEST_LINE 64

struct mapping {
	struct list_head list;
	dma_addr_t address;
	size_t size;
};

static struct platform_device *device;
static struct dentry *directory;
static struct page *buffer;
static LIST_HEAD(held);
static DEFINE_MUTEX(lock);
static unsigned long offset;
static u64 held_count, failed_count;

static int map(size_t size, unsigned long times)
{
	if (offset + size > PAGE_SIZE << BUFFER_ORDER)
		return -EINVAL;
	while (times--) {
		struct mapping *m = kmalloc(sizeof(*m), GFP_KERNEL);

		if (!m)
			return -ENOMEM;
		m->size = size;
		m->address = dma_map_page(&device->dev, buffer, offset, size, DMA_TO_DEVICE);
		if (dma_mapping_error(&device->dev, m->address)) {
			failed_count++;
			kfree(m);
			continue;
		}
		list_add_tail(&m->list, &held);
		held_count++;
	}
	return 0;
}

static int unmap(unsigned long times, unsigned long step)
{
	struct mapping *m, *next;
	unsigned long at = 0;

	list_for_each_entry_safe(m, next, &held, list)
	{
		if (!times)
			break;
		if (at++ % step)
			continue;
		dma_unmap_page(&device->dev, m->address, m->size, DMA_TO_DEVICE);
		list_del(&m->list);
		kfree(m);
		held_count--;
		times--;
	}
	return 0;
}

static int done(char *line)
{
	unsigned long first, second;

	if (sscanf(line, "map %lu %lu", &first, &second) == 2)
		return map(first, second);
	if (sscanf(line, "unmap %lu %lu", &first, &second) == 2)
		return second ? unmap(first, second) : -EINVAL;
	if (sscanf(line, "offset %li", &first) == 1 && first < PAGE_SIZE) {
		offset = first;
		return 0;
	}
	if (sscanf(line, "align %li", &first) == 1) {
		dma_set_min_align_mask(&device->dev, first);
		return 0;
	}
	if (sscanf(line, "boundary %li", &first) == 1) {
		dma_set_seg_boundary(&device->dev, first);
		return 0;
	}
	if (sscanf(line, "reach %li", &first) == 1)
		return dma_set_mask(&device->dev, DMA_BIT_MASK(first));
	return -EINVAL;
}

static ssize_t do_write(struct file *file, const char __user *text, size_t count, loff_t *at)
{
	char line[LONGEST_LINE] = "";
	int status;

	if (count >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, text, count))
		return -EFAULT;
	mutex_lock(&lock);
	status = done(line);
	mutex_unlock(&lock);
	return status ?: count;
}

static const struct file_operations do_file = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = do_write,
};

static int held_show(struct seq_file *file, void *unused)
{
	seq_printf(file, "held %llu failed %llu\n", held_count, failed_count);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(held);

static int probe(struct platform_device *found)
{
	return dma_set_mask_and_coherent(&found->dev, DMA_BIT_MASK(64));
}

static struct platform_driver driver = {
	.probe = probe,
	.driver = {.name = NAME},
};

static int __init begin(void)
{
	int status = -ENOMEM;

	buffer = alloc_pages(GFP_KERNEL | __GFP_ZERO, BUFFER_ORDER);
	if (!buffer)
		return status;
	status = platform_driver_register(&driver);
	if (status)
		goto without_driver;
	device = platform_device_register_simple(NAME, 0, NULL, 0);
	status = PTR_ERR_OR_ZERO(device);
	if (status)
		goto without_device;
	directory = debugfs_create_dir(NAME, NULL);
	debugfs_create_file("do", 0200, directory, NULL, &do_file);
	debugfs_create_file("held", 0400, directory, NULL, &held_fops);
	return 0;

without_device:
	platform_driver_unregister(&driver);
without_driver:
	__free_pages(buffer, BUFFER_ORDER);
	return status;
}

static void __exit end(void)
{
	debugfs_remove_recursive(directory);
	unmap(ULONG_MAX, 1);
	platform_device_unregister(device);
	platform_driver_unregister(&driver);
	__free_pages(buffer, BUFFER_ORDER);
}

module_init(begin);
module_exit(end);
MODULE_DESCRIPTION("Brings swiotlb into trouble, for tests");
MODULE_LICENSE("GPL");
