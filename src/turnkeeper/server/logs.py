"""What the server writes about itself."""

import logging
import sys

import structlog


def configure_logs() -> None:
    """Key-value lines on stderr. Tracebacks without the values of variables: those may be secrets."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.getLogger("uvicorn.error").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """A response that is broken off on purpose (its client left, the server stops) is none."""
    return "returned without completing response" not in record.getMessage()
