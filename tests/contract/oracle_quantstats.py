"""What quantstats makes of daily returns and of what the days made."""

from __future__ import annotations

import pandas as pd
from contract.answering import Answer, answer
from quantstats import stats


def quantstats(questions: list[dict[str, list[float]]]) -> list[Answer]:
    """Compute the figures of daily returns and of what the days made; no riskless return."""
    answers = []
    for question in questions:
        days = pd.date_range("2020-01-01", periods=len(question["returns"]))
        returns = pd.Series(question["returns"], index=days)
        pnl = pd.Series(question["pnl"], index=days)
        answers.append({
            "total_return": stats.comp(returns),
            "max_drawdown": stats.max_drawdown(returns),
            "annual_return": stats.cagr(returns, periods=252),
            "annual_volatility": stats.volatility(returns, periods=252),
            "sharpe_ratio": stats.sharpe(returns, periods=252),
            "sortino_ratio": stats.sortino(returns, periods=252),
            "win_rate": stats.win_rate(pnl, prepare_returns=False),
            "profit_factor": stats.profit_factor(pnl, prepare_returns=False),
        })  # fmt: skip
    return [{name: float(value) for name, value in answer.items()} for answer in answers]


if __name__ == "__main__":
    answer("quantstats", quantstats)
