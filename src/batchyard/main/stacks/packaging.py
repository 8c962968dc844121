"""Templates as they are sent: nested ones of this machine are put into a bucket first."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchyard.main.client import Trouble
from batchyard.main.shipped import templates_folder
from batchyard.main.stacks.account import Account
from batchyard.services.cloudformation.template.model import Template, TemplateFault
from batchyard.services.cloudformation.template.reading import read

SENT_WHOLE_BYTES = 51_200  # a larger TemplateBody is refused; from a bucket it may have up to 1 MB
NESTED = "AWS::CloudFormation::Stack"
_REMOTE = ("http://", "https://", "s3://")


@dataclass(frozen=True, slots=True)
class Packaged:
    """A template as a request names it: `sent` is TemplateBody or TemplateURL with its value."""

    template: Template
    sent: dict[str, str]
    uploaded: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        """The parameters that it declares."""
        found: dict[str, dict[str, Any]] = self.template.content.get("Parameters") or {}
        return found

    @property
    def has_nested(self) -> bool:
        return any(of.get("Type") == NESTED for of in (self.template.content.get("Resources") or {}).values() if isinstance(of, dict))


def named(template: str) -> Path:
    """The file of that path, or the template of that name that comes with Batchyard ("genomics")."""
    there, ours = Path(template), templates_folder() / f"{template}.yaml"
    return ours if not there.is_file() and template.isidentifier() and ours.is_file() else there


@dataclass(slots=True)
class Packer:
    """Puts what a template needs into a bucket of the account: `bucket`, or the account's own, which is made when it is first needed."""

    account: Account
    bucket: str = ""
    uploaded: list[str] = field(default_factory=list)
    _is_there: bool = False

    def package(self, path: Path) -> Packaged:
        """The template at `path`, ready to be sent. Raises `Trouble` with the line where it cannot be read."""
        text = self._text(path, (path,))
        template = _read(path, text)
        if len(text.encode()) <= SENT_WHOLE_BYTES:
            return Packaged(template, {"TemplateBody": text}, tuple(self.uploaded))
        return Packaged(template, {"TemplateURL": self._upload(text)}, tuple(self.uploaded))

    def _text(self, path: Path, within: tuple[Path, ...]) -> str:
        """The text of a template with the URLs of its nested ones in the place of their paths."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Trouble(f"The template {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
        template = _read(path, text)
        lines = text.splitlines(keepends=True)
        for name, resource in (template.content.get("Resources") or {}).items():
            if not isinstance(resource, dict) or resource.get("Type") != NESTED:
                continue
            url = (resource.get("Properties") or {}).get("TemplateURL")
            if not isinstance(url, str) or url.startswith(_REMOTE):
                continue
            nested = path.parent / url.removeprefix("file://").removeprefix("file:")
            if nested.resolve() in [each.resolve() for each in within]:
                raise Trouble(f"{path}: {name} leads back to {nested}, which holds it.")
            line = template.line(("Resources", name, "Properties", "TemplateURL"))
            at = next((n for n in range(line - 1, min(line + 1, len(lines))) if url in lines[n]), None)
            if at is None:
                raise Trouble(f"{path}, line {line}: write the TemplateURL of {name} on one line.")
            lines[at] = lines[at].replace(url, self._upload(self._text(nested, (*within, nested))), 1)
        return "".join(lines)

    def _upload(self, text: str) -> str:
        """Put a template into the bucket, under a name that is its content; its URL."""
        if not self._is_there:
            self.bucket = self.bucket or self._own_bucket()
            self._is_there = True
        key = f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.template"
        self.account.ask("s3", "put_object", Bucket=self.bucket, Key=key, Body=text.encode())
        self.uploaded.append(f"s3://{self.bucket}/{key}")
        if self.account.is_aws:
            suffix = "amazonaws.com.cn" if self.account.region.startswith("cn-") else "amazonaws.com"
            return f"https://{self.bucket}.s3.{self.account.region}.{suffix}/{key}"
        return f"{self.account.url.rstrip('/')}/{self.bucket}/{key}"

    def _own_bucket(self) -> str:
        """`batchyard-templates-ACCOUNT-REGION`, made closed to the public where it is not there yet."""
        name = f"batchyard-templates-{self.account.id}-{self.account.region}"
        try:
            self.account.ask("s3", "head_bucket", Bucket=name, ExpectedBucketOwner=self.account.id)
        except Trouble as trouble:
            if trouble.code not in ("404", "NoSuchBucket", "NotFound"):
                raise
            region = self.account.region
            where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            self.account.ask("s3", "create_bucket", Bucket=name, **where)
            closed = dict.fromkeys(("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True)
            self.account.ask("s3", "put_public_access_block", Bucket=name, PublicAccessBlockConfiguration=closed)
        return name


def _read(path: Path, text: str) -> Template:
    try:
        return read(text)
    except TemplateFault as fault:
        raise Trouble(f"{path}: {fault.message}") from None
