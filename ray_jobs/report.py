"""`raycipe report`: the page of a run, from what is there."""

from __future__ import annotations

from typing import Any

from core.artifacts.fingerprint import code_version, file_checksum
from core.artifacts.stage import Stage, read_manifest
from core.errors import DataError
from core.reporting.run_report import write_run_report
from ray_jobs.job import Job

STAGES = ("curate", "tokenize", "sweep", "evaluate", "contamination")


def report(job: Job) -> dict[str, Any]:
    """Writes `report/index.html`. Raises DataError where no stage has been finished yet."""
    names = [*STAGES, *(f"train/{name}" for name in job.recipe.train)]
    manifests = {name: read_manifest(job.run_dir / name) for name in names}
    done = {name: manifest["fingerprint"] for name, manifest in manifests.items() if manifest is not None}
    if not done:
        raise DataError(f"{job.run_dir}: nothing to report yet; begin with `raycipe run {job.resolved.tree.path.stem}`")
    stage = Stage.open(
        job.run_dir,
        "report",
        recipe=job.recipe.report.model_dump(mode="json"),
        seed=job.recipe.seed,
        code=code_version("core/reporting"),
        inputs={**done, "recipe": file_checksum(job.run_dir / "recipe.yaml")},
    )
    if stage.manifest is None:
        write_run_report(job.run_dir, job.recipe.report)
        stage.finish({"stages": len(done)})
    page = stage.directory / "index.html"
    job.reporter.say(f"report: {page}")
    return {"page": str(page)}


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("report")
