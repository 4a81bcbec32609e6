"""Ready-made agents: a person's proxy, a model with tools, a planner, an executor of steps."""

from agents.kinds.assistant import AssistantAgent
from agents.kinds.executor import ExecutorAgent
from agents.kinds.planner import PlannerAgent
from agents.kinds.user_proxy import UserProxyAgent, user_proxies

__all__ = ["AssistantAgent", "ExecutorAgent", "PlannerAgent", "UserProxyAgent", "user_proxies"]
