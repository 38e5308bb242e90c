"""Cuts the power of an ext4 file system: nothing that was not synced survives.

usage: power_cut.py MOUNT_POINT

The kernel stops writing to it at once and does not even flush its journal (EXT4_IOC_SHUTDOWN, "no log flush"). What
runs on it gets errors until it is unmounted.
"""

import fcntl
import os
import struct
import sys

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2

directory = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(directory, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
