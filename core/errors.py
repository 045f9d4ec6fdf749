"""One tree of errors; every message is one sentence for the user.

HubError
├── InputError        the input cannot be used (picture, prompt, parameter)
│   └── BadImage      the picture cannot be read, or is refused
├── CheckpointError   a checkpoint cannot be obtained, or is not what it claims to be
│   ├── HubUnreachable   Hugging Face did not answer
│   ├── Gated            Hugging Face requires an accepted licence or a token
│   └── DamagedFile      truncated, corrupted, or not a weight file
├── OutOfMemory       the device ran out of memory, even after a retry
├── DeviceLost        the GPU failed in a way that this process cannot recover from
├── Busy              the device did not become free in time
└── ResourceError     disk full, or folder not writable
"""

import errno

# `OSError.errno` of a full disk, and of a file or folder without permission to write.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class HubError(Exception):
    """Any error that a user may read; `str(error)` is the whole message."""


class InputError(HubError, ValueError):
    """A picture, prompt or parameter that cannot be used."""


class BadImage(InputError):
    """A picture that cannot be read, or is refused because of its size or kind."""


class CheckpointError(HubError):
    """A checkpoint that cannot be obtained, or is not what it claims to be."""


class HubUnreachable(CheckpointError):
    """Hugging Face did not answer in time."""


class Gated(CheckpointError):
    """Hugging Face requires an accepted licence or a token."""


class DamagedFile(CheckpointError):
    """A weight file that is truncated, corrupted or of the wrong kind."""


class OutOfMemory(HubError):
    """The device ran out of memory, even after making room and retrying."""


class DeviceLost(HubError):
    """The GPU failed and no longer answers; the CPU takes over."""


class Busy(HubError):
    """The device did not become free in time."""


class ResourceError(HubError):
    """The disk is full, or a folder is not writable."""
