# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the box runs with: the installed settings and model, or the versions that stand in for them."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from detector.config import EdgeSettings, read_settings
from detector.errors import ConfigError, DetectorError
from detector.upkeep.selftest import self_test
from detector.upkeep.updates import model_in
from detector.upkeep.versions import Versions
from detector.vision.model import Model, load_model
from detector.yamlfile import parse_checked

log = logging.getLogger(__name__)

SETTINGS_FILE = "edge.yaml"
INSTALLED_DIGEST = "installed.sha256"


def digest_of(file: Path) -> str:
    """SHA-256 of a file; raises OSError."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def settings_in_use(file: Path, versions: Versions | None = None) -> EdgeSettings:
    """The settings of `file`, or those that the server sent since it was last edited. Raises ConfigError.

    With `versions` what does not work is put right on disk; without, nothing is written.
    """
    installed = read_settings(file)
    known = versions or Versions(installed.versions_path())
    folder = known.current("settings")
    if folder is None:
        return installed
    try:
        if (folder / INSTALLED_DIGEST).read_text() != digest_of(file):
            log.warning("%s was edited since the server sent settings: the file counts", file)
            if versions:
                versions.drop("settings")
            return installed
        text = (folder / SETTINGS_FILE).read_text(encoding="utf-8")
        return parse_checked(text, EdgeSettings, f"{folder / SETTINGS_FILE}", file.parent)
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        if versions and "settings" in versions.on_trial():
            versions.roll_back("settings", str(error))
            return settings_in_use(file, versions)
        log.error("the settings sent by the server cannot be used, %s is: %s", file, error)
        return installed


def model_path(settings: EdgeSettings, versions: Versions) -> Path:
    """The model that is to be loaded."""
    folder = versions.current("model")
    return (model_in(folder) if folder else None) or settings.model.path


def model_in_use(settings: EdgeSettings, versions: Versions) -> Model:
    """The model, loaded; one on trial must pass its self-test, or the one before it is loaded. Raises ModelError."""
    path = model_path(settings, versions)
    installed = path == settings.model.path
    try:
        model = load_model(path, settings.model.backend if installed else "auto", settings.model.threads)
        if "model" in versions.on_trial():
            self_test(model)
        return model
    except DetectorError as error:
        if "model" in versions.on_trial():
            versions.roll_back("model", str(error))
            return model_in_use(settings, versions)
        if installed:
            raise
        log.error("the model sent by the server cannot be used, the installed one is: %s", error)
        return load_model(settings.model.path, settings.model.backend, settings.model.threads)
