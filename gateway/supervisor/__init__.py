"""Several worker processes behind one port: started, watched, replaced and drained by one supervisor."""
