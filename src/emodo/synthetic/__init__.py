"""Generated data: schematic faces whose causes are known, and degraded copies of any photographs."""
