"""The receiving half of a connection: RCV variables, window, reassembly, acknowledgements.

receiver        RCV variables (RFC 9293 section 3.3.1), delayed ACKs, window updates
receive_buffer  data in order, not read yet
reassembly      out-of-order data
buffer_tuning   receive buffer auto-tuning (Linux's tcp_moderate_rcvbuf)
freezing        windows that are closed by decision
urgent          urgent data (RFC 6093)
"""
