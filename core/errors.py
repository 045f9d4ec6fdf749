"""One tree of errors; every message is one sentence for the person at the page.

HubError
├── InputError        what was sent cannot be used (picture, prompt, parameter)
│   └── BadImage      the picture cannot be read, or is refused
├── CheckpointError   a checkpoint cannot be had or is not what it says
│   ├── HubUnreachable   the model hub did not answer
│   ├── Gated            the hub wants a licence accepted or a token
│   └── DamagedFile      truncated, flipped, or not a weight file
├── OutOfMemory       the device ran out of memory, also after a retry
├── DeviceLost        the GPU failed in a way that this process cannot mend
├── Busy              the device did not come free in time
└── ResourceError     disk full, folder not writable
"""


class HubError(Exception):
    """Anything that a user may read; `str(error)` is the whole message."""


class InputError(HubError, ValueError):
    """A picture, prompt or parameter that cannot be used."""


class BadImage(InputError):
    """A picture that cannot be read, or that is refused by size or kind."""


class CheckpointError(HubError):
    """A checkpoint that cannot be had, or that is not what it says."""


class HubUnreachable(CheckpointError):
    """The model hub did not answer in time."""


class Gated(CheckpointError):
    """The hub asks for an accepted licence or a token."""


class DamagedFile(CheckpointError):
    """A weight file that is truncated, altered or of another kind."""


class OutOfMemory(HubError):
    """The device ran out of memory, also after making room and retrying."""


class DeviceLost(HubError):
    """The GPU failed and answers nothing more; the processor takes over."""


class Busy(HubError):
    """The device did not come free in time."""


class ResourceError(HubError):
    """The disk is full or a folder cannot be written."""
