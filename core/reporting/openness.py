"""The class and the percentages of a model's release by the Model Openness Framework.

White et al. 2024, https://arxiv.org/abs/2403.13784, as its tool evaluates it, https://github.com/lfai/model_openness_tool.
Classes are cumulative: III (Open Model) asks for six components, II (Open Tooling) for these and four more, I (Open
Science) for these and four more. A component counts if the file names it with an open licence: its own, else the
release's for its kind (code, data, document), else the release's for the distribution. Any open licence counts for any
component, as in the tool. An open research paper stands for the technical report.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from core.errors import DataError
from core.reporting.formats import shortened

FRAMEWORK = "Model Openness Framework"
NAMES: dict[int, str] = {3: "III", 2: "II", 1: "I"}  # of the classes, from the least to the most open
TITLES: dict[int, str] = {3: "Open Model", 2: "Open Tooling", 1: "Open Science"}
Kind = Literal["code", "data", "document"]
REPORT, PAPER = "Technical report", "Research paper"
LIBRARIES, SAMPLES = "Supporting libraries and tools", "Sample model outputs"
# Of each component: what kind of thing it is, the first class that asks for it, None for one that no class asks for.
COMPONENTS: dict[str, tuple[Kind, int | None]] = {
    "Model architecture": ("code", 3),
    "Model parameters (Final)": ("data", 3),
    "Evaluation results": ("document", 3),
    "Model card": ("document", 3),
    "Data card": ("document", 3),
    REPORT: ("document", 3),
    "Training code": ("code", 2),
    "Inference code": ("code", 2),
    "Evaluation code": ("code", 2),
    "Evaluation data": ("data", 2),
    "Data preprocessing code": ("code", 1),
    "Datasets": ("data", 1),
    "Model parameters (Intermediate)": ("data", 1),
    PAPER: ("document", 1),
    LIBRARIES: ("code", None),
    SAMPLES: ("document", None),
    "Model metadata": ("data", None),
}

# SPDX identifiers. The first: open source, approved by the OSI or free by the FSF (SPDX licence list 3.26). The second:
# what the tool also takes as open data and content, with PDDL-1.0, which the tool writes ODC-PDDL-1.0.
OPEN_SOURCE = """
    0BSD AAL AFL-1.1 AFL-1.2 AFL-2.0 AFL-2.1 AFL-3.0 AGPL-1.0 AGPL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.0
    Apache-1.1 Apache-2.0 APL-1.0 APSL-1.0 APSL-1.1 APSL-1.2 APSL-2.0 Artistic-1.0 Artistic-1.0-cl8 Artistic-1.0-Perl
    Artistic-2.0 BitTorrent-1.1 BlueOak-1.0.0 BSD-1-Clause BSD-2-Clause BSD-2-Clause-FreeBSD BSD-2-Clause-NetBSD
    BSD-2-Clause-Patent BSD-3-Clause BSD-3-Clause-Clear BSD-3-Clause-LBNL BSD-4-Clause BSL-1.0 CAL-1.0
    CAL-1.0-Combined-Work-Exception CATOSL-1.1 CDDL-1.0 CECILL-2.0 CECILL-2.1 CECILL-B CECILL-C CERN-OHL-P-2.0
    CERN-OHL-S-2.0 CERN-OHL-W-2.0 ClArtistic CNRI-Python Condor-1.1 CPAL-1.0 CPL-1.0 CUA-OPL-1.0 ECL-1.0 ECL-2.0
    eCos-2.0 EFL-1.0 EFL-2.0 Entessa EPL-1.0 EPL-2.0 EUDatagrid EUPL-1.1 EUPL-1.2 Fair Frameworx-1.0 FSFAP FTL
    GFDL-1.1 GFDL-1.1-only GFDL-1.1-or-later GFDL-1.2 GFDL-1.2-only GFDL-1.2-or-later GFDL-1.3-only GFDL-1.3-or-later
    gnuplot GPL-2.0 GPL-2.0+ GPL-2.0-only GPL-2.0-or-later GPL-3.0 GPL-3.0+ GPL-3.0-only GPL-3.0-or-later
    GPL-3.0-with-GCC-exception HPND ICU IJG iMatix Imlib2 Intel IPA IPL-1.0 ISC Jam LGPL-2.0 LGPL-2.0+ LGPL-2.0-only
    LGPL-2.0-or-later LGPL-2.1 LGPL-2.1+ LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0 LGPL-3.0+ LGPL-3.0-only
    LGPL-3.0-or-later LiLiQ-P-1.1 LiLiQ-R-1.1 LiLiQ-Rplus-1.1 LPL-1.0 LPL-1.02 LPPL-1.2 LPPL-1.3a LPPL-1.3c MirOS MIT
    MIT-0 MIT-Modern-Variant Motosoto MPL-1.0 MPL-1.1 MPL-2.0 MPL-2.0-no-copyleft-exception MS-PL MS-RL MulanPSL-2.0
    Multics NASA-1.3 Naumen NCSA NGPL Nokia NOSL NPL-1.0 NPL-1.1 NPOSL-3.0 NTP Nunit OCLC-2.0 OFL-1.0 OFL-1.1
    OFL-1.1-no-RFN OFL-1.1-RFN OGTSL OLDAP-2.3 OLDAP-2.7 OLDAP-2.8 OLFL-1.3 OpenSSL OSET-PL-2.1 OSL-1.0 OSL-1.1
    OSL-2.0 OSL-2.1 OSL-3.0 PHP-3.0 PHP-3.01 PostgreSQL Python-2.0 QPL-1.0 RPL-1.1 RPL-1.5 RPSL-1.0 RSCPL Ruby
    SGI-B-2.0 SimPL-2.0 SISSL Sleepycat SMLNJ SPL-1.0 StandardML-NJ UCL-1.0 Unicode-3.0 Unicode-DFS-2016 Unlicense
    UPL-1.0 Vim VSL-1.0 W3C W3C-20150513 Watcom-1.0 WTFPL wxWindows X11 XFree86-1.1 xinetd Xnet YPL-1.1 Zend-2.0
    Zimbra-1.3 Zlib ZPL-2.0 ZPL-2.1
"""
OPEN_DATA_AND_CONTENT = """
    CC-BY-1.0 CC-BY-2.0 CC-BY-2.5 CC-BY-2.5-AU CC-BY-3.0 CC-BY-3.0-AT CC-BY-3.0-AU CC-BY-3.0-DE CC-BY-3.0-IGO
    CC-BY-3.0-NL CC-BY-3.0-US CC-BY-4.0 CC-BY-SA-1.0 CC-BY-SA-2.0 CC-BY-SA-2.0-UK CC-BY-SA-2.1-JP CC-BY-SA-2.5
    CC-BY-SA-3.0 CC-BY-SA-3.0-AT CC-BY-SA-4.0 CC0-1.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0 CDLA-Sharing-1.0
    GFDL-1.3 ODbL-1.0 ODC-By-1.0 ODC-PDDL-1.0 OGL-Canada-2.0 OGL-UK-2.0 OGL-UK-3.0 PDDL-1.0
"""
OPEN = frozenset((OPEN_SOURCE + OPEN_DATA_AND_CONTENT).lower().split())  # SPDX: upper and lower case are equal


@dataclass(frozen=True)
class Release:
    """What a file says of a model: the licence of each component that is there, None for one without."""

    path: Path
    model: str
    licences: Mapping[str, str | None]

    @property
    def open(self) -> frozenset[str]:
        """The components under a licence that counts."""
        return frozenset(name for name, licence in self.licences.items() if licence and licence.lower() in OPEN)


@dataclass(frozen=True)
class Openness:
    """The answer for a release; 3, 2 and 1 are the classes III, II and I."""

    classification: int | None  # the best class that is reached
    percent: Mapping[int, int]  # by class; 100 for those that are reached, and only for them
    missing: Mapping[int, Mapping[str, str]]  # by class, all that it still asks for: component and why, in plain words


def evaluate(release: Release) -> Openness:
    """The class, percentages and gaps of a release."""
    done = release.open
    missing = {
        number: {name: _reason(name, release) for name in _required(number, done) if name not in done}
        for number in NAMES
    }
    reached = [number for number in NAMES if not missing[number]]
    percent = {number: _percent(number, done, number + 1 in (*reached, 4)) for number in NAMES}
    return Openness(min(reached, default=None), percent, missing)


def _required(number: int, done: frozenset[str]) -> list[str]:
    """What a class asks for. Without an open report that is the paper, which Class I asks for anyway."""
    names = [name for name, (_, first) in COMPONENTS.items() if first and first >= number]
    if REPORT not in done and (number == 1 or PAPER in done):
        names.remove(REPORT)
        names += [PAPER] if PAPER not in names else []
    return names


def _percent(number: int, done: frozenset[str], has_class_below: bool) -> int:
    """How much of a class is there, in percent of the components that it asks for, if the class below is reached.

    Else the tool says 0, which does not tell how far it is; the names of its test files do, and are followed here: of
    11 components for Class II, with the libraries; of 15 for Class I, with the libraries and, as one that takes both,
    the report and the sample outputs.
    """
    parts = [{name} for name in _required(number, done)]
    if not has_class_below:
        parts.append({LIBRARIES})
        if number == 1:
            parts = [part for part in parts if part != {REPORT}] + [{REPORT, SAMPLES}]
    return round(100 * sum(part <= done for part in parts) / len(parts))


def _reason(name: str, release: Release) -> str:
    licence = release.licences.get(name)
    if name not in release.licences:
        said = "not released"
    else:
        said = f"the licence {licence} does not count as open" if licence else "released without a licence"
    return f"{said}; an open research paper would do, too" if name == REPORT else said


def read_release(path: Path) -> Release:
    """A model's file, in YAML, as the framework's tool reads and writes them.

    Raises DataError, with the line where there is one, for a file that cannot be read or is of something else, a key
    that is missing or has a value of the wrong kind, and a component that is unknown or there twice.
    """
    document = _read_yaml(path)
    framework = document.get("framework")
    if not isinstance(framework, CommentedMap) or framework.get("name") != FRAMEWORK:
        place = f"{path}:{_line(document, 'framework')}: framework.name"
        raise DataError(f"{place}: not a file of the framework; expected '{FRAMEWORK}'")
    release = _take(document, "release", CommentedMap, path)
    components = _take(release, "components", CommentedSeq, path, "release.")
    shared = _shared_licences(release, path)
    licences: dict[str, str | None] = {}
    for number, component in enumerate(components):
        place = f"release.components.{number}"
        if not isinstance(component, CommentedMap):
            raise DataError(f"{path}:{_line(components, number)}: {place}: expected a mapping with a name")
        name = _take(component, "name", str, path, f"{place}.")
        if name not in COMPONENTS:
            nearest = difflib.get_close_matches(name, COMPONENTS, n=1)
            hint = f"did you mean '{nearest[0]}'?" if nearest else f"expected one of {', '.join(COMPONENTS)}"
            raise DataError(f"{path}:{_line(component, 'name')}: {place}.name: unknown component '{name}'; {hint}")
        if name in licences:
            raise DataError(f"{path}:{_line(component, 'name')}: {place}.name: '{name}' is there twice")
        own = _text(component, "license", path, f"{place}.")
        kind, _ = COMPONENTS[name]
        licence = shared.get(kind) or shared.get("distribution") if own is None else own
        licences[name] = None if licence in (None, "", "unlicensed") else licence
    return Release(path, _text(release, "name", path, "release.") or path.stem, licences)


def _shared_licences(release: CommentedMap, path: Path) -> dict[str, str]:
    """The release's licences, by kind of component or "distribution"."""
    if not release.get("license"):
        return {}
    given = _take(release, "license", CommentedMap, path, "release.")
    kinds = ("distribution", "code", "data", "document")
    found = {}
    for kind in given:
        if kind not in kinds:
            place = f"{path}:{_line(given, kind)}: release.license.{kind}"
            raise DataError(f"{place}: unknown key; expected {', '.join(kinds)}")
        if given[kind]:
            licence = _take(given, kind, CommentedMap, path, "release.license.")
            found[kind] = _text(licence, "name", path, f"release.license.{kind}.") or ""
    return found


def _take(mapping: CommentedMap, key: str, kind: type[Any], path: Path, above: str = "") -> Any:
    """The value of a key. Raises DataError where there is none, or one of another kind."""
    kinds: dict[type[Any], str] = {CommentedMap: "a mapping", CommentedSeq: "a list", str: "text"}
    if key not in mapping:
        raise DataError(f"{path}:{mapping.lc.line + 1}: {above}{key}: no such key; expected {kinds[kind]}")
    value = mapping[key]
    if not isinstance(value, kind):
        found = "nothing" if value is None else f"'{shortened(str(value), 60)}'"
        raise DataError(f"{path}:{_line(mapping, key)}: {above}{key}: found {found}; expected {kinds[kind]}")
    return value


def _text(mapping: CommentedMap, key: str, path: Path, above: str) -> str | None:
    """A text that may be missing or null."""
    return None if mapping.get(key) is None else str(_take(mapping, key, str, path, above)).strip()


def _line(container: CommentedMap | CommentedSeq, key: Any) -> int:
    places = container.lc.data or {}
    return int(places[key][0]) + 1 if key in places else 1


def _read_yaml(path: Path) -> CommentedMap:
    try:
        document = YAML(typ="rt", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DataError(f"{path}:{line}: not valid YAML: {(error.problem or '').strip().splitlines()[0]}") from error
    except (YAMLError, ValueError, RecursionError) as error:  # also: not UTF-8, no such date, too deep
        raise DataError(f"{path}: not valid YAML in UTF-8: {str(error).splitlines()[0]}") from error
    if not isinstance(document, CommentedMap):
        raise DataError(f"{path}:1: not a file of the framework; expected a mapping with the keys framework, release")
    return document
