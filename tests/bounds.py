"""
The contract's bounds on label values.
"""

from __future__ import annotations

BOUNDS = {
    "account_id": r"[0-9]{12}|\(invalid\)",
    "aws_region": r"[a-z0-9-]{1,32}|\(invalid\)",
    "repository": r"[A-Za-z0-9_.-]{0,100}",
    "action": r"[A-Za-z0-9_.:-]{1,64}|\(invalid\)",
    "protocol": r"[A-Za-z0-9]{0,16}|\(invalid\)",
    "data_transferred": r"true|false|",
    "error_code": r"[A-Za-z0-9_.:-]{0,64}|\(invalid\)",
    "ref_type": r"branch|tag|other",
    "change": r"update|delete",
    "event": r"created|merged|closed|reopened|approved|approval_revoked|overridden|commented",
    "outcome": r"merged|closed",
    "identity_type": r"[A-Za-z0-9_.:-]{1,64}|\(invalid\)",
    "credentials": r"root|long_term|temporary|aws_service|unknown",
    "repository_id": r"[A-Za-z0-9_.:-]{1,128}",
    "le": r"[0-9]+\.[0-9]+(e\+[0-9]+)?|\+Inf",
}
"""What the value of each label of the CodeCommit families may be."""
