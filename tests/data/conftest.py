"""What tests of several data sets need."""

import gc
import signal

import pytest
import torch


@pytest.fixture
def deaths_are_polled(monkeypatch):
    """Let a killed worker be noticed by the loader alone.

    Torch's handler of SIGCHLD raises wherever the main process happens to be, which in
    a test may be pytest itself. Without it the loader finds out when it looks.
    """
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
    monkeypatch.setattr(
        torch.utils.data.dataloader._utils, "MP_STATUS_CHECK_INTERVAL", 0.2
    )
    list(torch.utils.data.DataLoader(range(1), num_workers=1))  # installs the handler
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    yield
    gc.collect()  # the loader forgets its dead workers before the handler is back
    signal.signal(signal.SIGCHLD, before)
