"""An audit team: a planner, analysts, a critic and a reporter look at a folder of Python source together.

As a Django app it shows how a project adds agents to Nexus: `models.py` has the tables that its handlers write, and
`nexus_agents.py` registers the agents, which every worker imports by itself.
"""
